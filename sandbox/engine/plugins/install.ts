import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { z } from "zod";

/** The official plugins that a stand-in can take the place of. */
export const standInNames = ["random", "tls", "minio"] as const;
export type StandInName = (typeof standInNames)[number];

const sdkSchema = z.object({ pulumi: z.object({ version: z.string() }) });

/** The version of the npm SDK, which asks the engine for the plugin of the same version. */
export async function sdkVersion(name: StandInName): Promise<string> {
  const path = createRequire(import.meta.url).resolve(`@pulumi/${name}/package.json`);
  return sdkSchema.parse(JSON.parse(await readFile(path, "utf8"))).pulumi.version;
}

/**
 * Puts stand-ins where the engine looks for installed plugins: `<pulumiHome>/plugins/resource-<name>-v<version>/`. Each is
 * a script that runs this checkout's `main.ts` with the Node that runs us; a stand-in that is there already is written anew.
 */
export async function installStandIns(pulumiHome: string, names: readonly StandInName[]): Promise<void> {
  const main = fileURLToPath(new URL("main.ts", import.meta.url));
  await Promise.all(
    names.map(async (name) => {
      const directory = join(pulumiHome, "plugins", `resource-${name}-v${await sdkVersion(name)}`);
      await mkdir(directory, { recursive: true });
      const command = [process.execPath, main, name].map(quoted).join(" ");
      const script = `#!/bin/sh\nexec ${command} "$@"\n`;
      await writeFile(join(directory, `pulumi-resource-${name}`), script, { mode: 0o755 });
    }),
  );
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
