import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { parse } from "yaml";
import { z } from "zod";

import { parseSettings } from "../../config/parse.ts";
import type { Settings } from "../../config/schema.ts";
import { sandboxFiles } from "../sandbox-files.ts";

const root = join(import.meta.dirname, "../..");
const projectSchema = z.looseObject({ name: z.string() });
const stackSchema = z.looseObject({ config: z.record(z.string(), z.unknown()).default({}) });

/**
 * What a stack file declares. Values of other namespaces, encrypted ones among them, are not looked at: the
 * stack's own keys hold no secret.
 *
 * @throws ConfigError with all faults, or Error when it is no stack file.
 */
export function readDeclaration(file: string): Settings {
  const project = projectSchema.parse(parse(readFileSync(join(root, "Pulumi.yaml"), "utf8"))).name;
  const stack = stackSchema.safeParse(parse(readFileSync(file, "utf8")));
  if (!stack.success) throw new Error(`${file} is no stack file: it holds no map named "config"`);
  const entries = Object.entries(stack.data.config).map(([key, value]): [string, string] => [
    key.includes(":") ? key : `${project}:${key}`,
    typeof value === "string" ? value : JSON.stringify(value),
  ]);
  return parseSettings(Object.fromEntries(entries), project);
}

/** The stack file that is meant when none is named: the sandbox's while its cluster is worked on, else the stack's own. */
export function stackFileOf(stack: string | undefined, worksOnSandbox: boolean): string {
  const { stackFile } = sandboxFiles();
  if (stack === undefined && worksOnSandbox && existsSync(stackFile)) return stackFile;
  return join(root, `Pulumi.${stack ?? "dev"}.yaml`);
}
