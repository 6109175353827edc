import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { UserError } from "../command-line.ts";
import { renderManifests } from "./manifests.ts";
import { readOrder, stacksOf } from "../program/project.ts";
import { recordProgram } from "../program/record.ts";

const folders = ["kubernetes", "minio"];

/** A stack's objects as YAML, by path. @throws UserError when there is no such stack, or its program fails. */
export async function renderStack(project: string, stack: string): Promise<Map<string, string>> {
  const folder = realpathSync(project);
  const order = readOrder(folder, stack, randomBytes(32).toString("hex"));
  if (order === undefined) {
    throw new UserError(
      `there is no stack "${stack}": Pulumi.${stack}.yaml is missing; there are ${stacksOf(folder).join(" and ")}`,
    );
  }
  return renderManifests(await recordProgram(folder, order));
}

/**
 * Writes a rendering into a folder, in the place of an earlier one.
 *
 * @throws UserError when the folder holds anything else: it is then hardly the one that was meant.
 */
export function writeRendering(out: string, files: ReadonlyMap<string, string>): void {
  const others = existsSync(out) ? readdirSync(out).filter((entry) => !folders.includes(entry)) : [];
  if (others.length > 0) {
    throw new UserError(
      `${out} holds other things (${others.slice(0, 3).join(", ")}): name an empty folder or a new one`,
    );
  }
  for (const folder of folders) rmSync(join(out, folder), { recursive: true, force: true });
  for (const [path, text] of files) {
    const file = join(out, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
}
