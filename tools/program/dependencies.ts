import { execFile } from "node:child_process";
import { readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual, promisify } from "node:util";

import { z } from "zod";

import { UserError, messageOf } from "../command-line.ts";

const lockSchema = z.looseObject({
  packages: z.record(z.string(), z.looseObject({ dev: z.boolean().optional() })),
});

/**
 * Gives a base revision the dependencies that its own lock file names: the head's, where the lock files agree on what
 * the program needs, or an installation of its own, without install scripts.
 *
 * @returns which of the two, for the report.
 * @throws UserError when they are not available.
 */
export async function provideDependencies(head: string, base: string): Promise<string> {
  if (isDeepStrictEqual(runtimePackages(head), runtimePackages(base))) {
    symlinkSync(join(head, "node_modules"), join(base, "node_modules"), "dir");
    return "same as here";
  }
  const started = performance.now();
  try {
    await promisify(execFile)(
      "npm",
      ["ci", "--omit=dev", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"],
      { cwd: base },
    );
  } catch (error) {
    throw new UserError(`its dependencies cannot be installed:\n${messageOf(error)}`);
  }
  return `its own, installed by npm ci in ${Math.round((performance.now() - started) / 1000)} s`;
}

/** What a lock file installs without development's tools; those differ often, and no program is run with them. */
function runtimePackages(folder: string): unknown {
  let text: string;
  try {
    text = readFileSync(join(folder, "package-lock.json"), "utf8");
  } catch {
    throw new UserError("it has no package-lock.json, so its dependencies are not known");
  }
  const { packages } = lockSchema.parse(JSON.parse(text));
  return Object.entries(packages).filter(([path, { dev }]) => path !== "" && dev !== true);
}
