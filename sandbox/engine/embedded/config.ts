import { readFileSync } from "node:fs";
import { join } from "node:path";

import { parse } from "yaml";
import { z } from "zod";

const projectSchema = z.looseObject({ name: z.string(), main: z.string().optional() });
const packageSchema = z.looseObject({ main: z.string().optional() });
const stackSchema = z.looseObject({ config: z.record(z.string(), z.json()).default({}) }).nullable();

function parseYaml(file: string): unknown {
  try {
    return parse(readFileSync(file, "utf8"));
  } catch (error) {
    const [why] = error instanceof Error ? error.message.split("\n") : [];
    throw new Error(`${file} can't be read: ${why ?? "?"}`, { cause: error });
  }
}

/** Name and entry of the Pulumi project in a folder, found as the Pulumi CLI finds them. */
export function readProject(directory: string): { name: string; program: string } {
  const project = projectSchema.parse(parseYaml(join(directory, "Pulumi.yaml")));
  const manifest = packageSchema.parse(JSON.parse(readFileSync(join(directory, "package.json"), "utf8")));
  return { name: project.name, program: join(directory, project.main ?? manifest.main ?? "index.ts") };
}

/**
 * Reads a stack file's `config:` into what the CLI would hand to the program: strings as they are, anything else as
 * JSON, and a key without a namespace under the project's.
 *
 * @throws when the file holds encrypted values, which only the CLI can read
 */
export function readStackConfig(file: string, project: string): Record<string, string> {
  const parsed = stackSchema.safeParse(parseYaml(file));
  if (!parsed.success) throw new Error(`${file} is not a stack file: it must hold a map named "config"`);
  const config: Record<string, string> = {};
  const encrypted: string[] = [];
  for (const [key, value] of Object.entries(parsed.data?.config ?? {})) {
    const name = key.includes(":") ? key : `${project}:${key}`;
    const text = typeof value === "string" ? value : JSON.stringify(value);
    if (/"secure":/.test(text)) encrypted.push(name);
    config[name] = text;
  }
  if (encrypted.length > 0) {
    throw new Error(
      `${file} holds encrypted values that only the Pulumi CLI can read: ${encrypted.join(", ")}. ` +
        `Use the CLI, or a stack file without them.`,
    );
  }
  return config;
}
