import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { parse } from "yaml";
import { z } from "zod";

import { UserError, messageOf } from "../command-line.ts";
import type { Order } from "./recording.ts";

const projectSchema = z.looseObject({ name: z.string(), main: z.string().optional() });
const packageSchema = z.looseObject({ main: z.string().optional() });
const encryptedSchema = z.strictObject({ secure: z.string() });
const stackSchema = z.looseObject({ config: z.record(z.string(), z.json()).default({}) }).nullable();

/** The stacks that have a stack file in a folder. */
export function stacksOf(folder: string): string[] {
  return readdirSync(folder)
    .map((file) => /^Pulumi\.(.+)\.yaml$/.exec(file)?.[1])
    .filter((stack) => stack !== undefined)
    .toSorted();
}

/**
 * What the recorder needs to know of a project in a folder, found as the Pulumi CLI finds it; undefined where the
 * stack has no file.
 *
 * An encrypted value is handed on as it stands in the stack file: that it changed can be told, what it is cannot.
 *
 * @throws UserError when the folder holds no Pulumi project, or a file cannot be read.
 */
export function readOrder(folder: string, stack: string, key: string): Order | undefined {
  const project = read(join(folder, "Pulumi.yaml"), projectSchema, parse);
  const manifest = read(join(folder, "package.json"), packageSchema, JSON.parse);
  const file = join(folder, `Pulumi.${stack}.yaml`);
  if (!existsSync(file)) return undefined;
  const settings = read(file, stackSchema, parse)?.config ?? {};
  const config: Record<string, string> = {};
  const encrypted: string[] = [];
  for (const [name, value] of Object.entries(settings)) {
    const fullName = name.includes(":") ? name : `${project.name}:${name}`;
    const cipher = encryptedSchema.safeParse(value);
    if (cipher.success || JSON.stringify(value).includes('"secure":')) encrypted.push(fullName);
    config[fullName] = cipher.data?.secure ?? (typeof value === "string" ? value : JSON.stringify(value));
  }
  const program = join(folder, project.main ?? manifest.main ?? "index.ts");
  return { project: project.name, stack, program, config, encrypted, key };
}

function read<T>(file: string, schema: z.ZodType<T>, parseText: (text: string) => unknown): T {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    throw new UserError(`${file} cannot be read: a Pulumi project with a package.json is expected there`);
  }
  try {
    return schema.parse(parseText(text));
  } catch (error) {
    throw new UserError(`${file} is not what it should be: ${messageOf(error)}`);
  }
}
