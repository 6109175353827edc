import type { z } from "zod";

import { settingsSchema, type Settings } from "./schema.ts";

/** All errors of a stack's configuration in one message: key, value and remedy of each. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    const count = problems.length === 1 ? "1 error" : `${problems.length} errors`;
    super(
      `The stack's configuration has ${count}; nothing was changed:\n${problems.map((problem) => `  - ${problem}`).join("\n")}`,
    );
    this.problems = problems;
  }
}

/**
 * Checks raw Pulumi configuration, as `project:key` to text, structured values as JSON.
 *
 * @throws ConfigError with all errors at once.
 */
export function parseSettings(raw: Readonly<Record<string, string>>, project: string): Settings {
  const prefix = `${project}:`;
  const values = Object.fromEntries(
    Object.entries(raw)
      .filter(([key]) => key.startsWith(prefix))
      .map(([key, text]) => {
        const name = key.slice(prefix.length);
        return [name, name === "namespace" ? text : jsonOrText(text)];
      }),
  );
  const parsed = settingsSchema.safeParse(values, { error: expectedType });
  if (parsed.success) return parsed.data;
  throw new ConfigError(parsed.error.issues.flatMap((issue) => describe(issue, values, prefix)));
}

function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The message for a value of the wrong type where the schema has none of its own. */
function expectedType(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code !== "invalid_type") return undefined;
  const kinds: Readonly<Record<string, string>> = {
    object: "a map",
    record: "a map",
    array: "a list",
    string: "a text",
  };
  const kind = kinds[issue.expected] ?? issue.expected;
  return issue.input === undefined ? `is missing: it must be ${kind}` : `must be ${kind}`;
}

/** An issue as `key = value: what is wrong: what to do`. */
function describe(issue: z.core.$ZodIssue, values: unknown, prefix: string): string[] {
  const key = prefix + issue.path.join(".");
  // The value of an unknown key is not shown: it may be a secret that was set under a wrong name.
  if (issue.code === "unrecognized_keys") {
    const parent = issue.path.length === 0 ? prefix : `${key}.`;
    return issue.keys.map(
      (unknown) => `${parent}${unknown}: unknown key: remove it, or see docs/configuration.md`,
    );
  }
  const value = issue.path.reduce<unknown>(
    (inner, part) => (typeof inner === "object" && inner !== null ? Reflect.get(inner, part) : undefined),
    values,
  );
  if (value === undefined || typeof value === "object") return [`${key}: ${issue.message}`];
  // An address may hold a password.
  const shown = JSON.stringify(value).replaceAll(/\/\/[^/]*@/g, "//***@");
  return [`${key} = ${shown}: ${issue.message}`];
}
