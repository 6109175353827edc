import { chmod, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";

import type { Cli } from "./cli.ts";

/**
 * What a CLI takes as `--policy-pack` for a pack in a folder. An official CLI starts packs by its language host, which a
 * built one lacks: that one is given a command that starts the pack itself (Pulumi 3.274 takes an executable file).
 *
 * @param folder where the command is written
 */
export async function policyPackFor(cli: Cli, pack: string, folder: string): Promise<string> {
  if (cli.origin !== "built") return pack;
  const runner = createRequire(import.meta.url).resolve("@pulumi/pulumi/cmd/run-policy-pack/index.js");
  const command = join(folder, "policy-pack");
  await writeFile(
    command,
    `#!/bin/sh\ncd '${pack}' && exec '${process.execPath}' '${runner}' "$1" '${pack}'\n`,
  );
  await chmod(command, 0o755);
  return command;
}
