import { existsSync } from "node:fs";
import { mkdir, rm, symlink } from "node:fs/promises";
import { delimiter, join } from "node:path";

import { engineBuilds, ensureBuild, isBuilt } from "../cluster/builds.ts";
import type { Layout } from "../layout.ts";
import type { Step } from "../progress.ts";
import type { Run } from "../run.ts";

/** Where a Pulumi CLI came from. */
export type CliOrigin = "PATH" | "npm" | "built";

/** A Pulumi CLI that can be run here. */
export interface Cli {
  readonly origin: CliOrigin;
  /** The folder whose `bin/pulumi` it is, as the Automation API wants it. */
  readonly root: string;
}

/** Seconds in which the npm package must have fetched its CLI; where its site is unreachable it fails at once. */
const downloadSeconds = 120;

/**
 * Finds a Pulumi CLI: one on the PATH; else the npm package's, where it can download; else one built from the Go module
 * that `sandbox/tools/pulumi` pins. Once built, the npm package is not asked again.
 *
 * @throws CommandError when the build fails.
 */
export async function findCli(layout: Layout, home: string, run: Run, step: Step): Promise<Cli> {
  const onPath = commandsOnPath(layout, "pulumi")[0];
  if (onPath !== undefined) return { origin: "PATH", root: await link(home, onPath) };
  if (!(await isBuilt(layout, engineBuilds.pulumi))) {
    const root = await npmPackage(layout, home, run, step);
    if (root !== undefined) return { origin: "npm", root };
  }
  const folder = await ensureBuild(layout, run, step, engineBuilds.pulumi);
  return { origin: "built", root: await link(home, join(folder, "pulumi")) };
}

/** A command's places on the PATH, without those that npm adds for its own packages. */
export function commandsOnPath(layout: Layout, name: string): readonly string[] {
  const npmBinaries = join(layout.project, "node_modules/.bin");
  return (process.env["PATH"] ?? "")
    .split(delimiter)
    .filter((folder) => folder !== "" && folder !== npmBinaries && !folder.endsWith("/node_modules/.bin"))
    .map((folder) => join(folder, name))
    .filter((path) => existsSync(path));
}

/** The npm package fetches its CLI at its first run, below the PULUMI_HOME that it is given. */
async function npmPackage(layout: Layout, home: string, run: Run, step: Step): Promise<string | undefined> {
  const command = join(layout.project, "node_modules/.bin/pulumi");
  if (!existsSync(command)) return undefined;
  step.doing("asking the npm package for its CLI");
  const environment = { PULUMI_HOME: home, PULUMI_SKIP_UPDATE_CHECK: "1" };
  try {
    const { stdout } = await run("timeout", [String(downloadSeconds), command, "version"], {
      env: environment,
    });
    const version = /v?(\d+\.\d+\.\d+\S*)/.exec(stdout)?.[1];
    const root = join(home, "versions", version ?? "");
    return version !== undefined && existsSync(join(root, "bin/pulumi")) ? root : undefined;
  } catch {
    return undefined;
  }
}

/** Gives a command the place that the Automation API looks at: `<root>/bin/pulumi`. */
async function link(home: string, command: string): Promise<string> {
  const root = join(home, "cli");
  const place = join(root, "bin/pulumi");
  await mkdir(join(root, "bin"), { recursive: true });
  await rm(place, { force: true });
  await symlink(command, place);
  return root;
}
