import { join } from "node:path";

import { ensureBuilds } from "../../sandbox/cluster/builds.ts";
import { command, layout, run } from "./stacks.ts";

const quiet = { note: () => undefined, doing: () => undefined };

/** Runs `npm run sandbox`, as a person would, and shows what it says. @throws Error when it fails. */
export async function bringUp(): Promise<string> {
  const { code, output } = await command(process.execPath, ["sandbox/main.ts"]).done;
  process.stdout.write(output);
  if (code !== 0) throw new Error(`npm run sandbox ended with exit code ${code}`);
  return output;
}

/** The sandbox's own `mc`. */
export async function mcBinary(): Promise<string> {
  return join((await ensureBuilds(layout, run, quiet)).mc, "mc");
}
