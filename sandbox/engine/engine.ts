import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { writeWhole } from "../cluster/node/config-files.ts";
import type { Layout } from "../layout.ts";
import type { Step } from "../progress.ts";
import type { Run } from "../run.ts";
import { earlierVersions } from "../down.ts";
import { type Cli, findCli } from "./cli.ts";
import { type Plugins, preparePlugins } from "./plugins.ts";

/** Pulumi's engine as this machine has it: its CLI and the plugins of the program's providers. */
export interface Engine {
  readonly cli: Cli;
  readonly plugins: Plugins;
  /** The PULUMI_HOME that holds them. */
  readonly home: string;
}

/** A sandbox of an earlier version, whose stack this one's engine can't take over. */
export class OldSandboxError extends Error {
  override readonly name = "OldSandboxError";
}

/** Finds or builds Pulumi's engine, and says what it found. */
export async function prepareEngine(layout: Layout, run: Run, step: Step): Promise<Engine> {
  const home = layout.pulumiHome;
  await mkdir(home, { recursive: true, mode: 0o700 });
  const cli = await findCli(layout, home, run, step);
  const plugins = await preparePlugins(layout, home, cli, run, step);
  for (const line of describeEngine({ cli, plugins, home })) step.note(line);
  return { cli, plugins, home };
}

const cliOrigins = {
  PATH: "the CLI on the PATH",
  npm: "the CLI of the npm package",
  built: "the CLI built from its Go module",
} as const;

/** What an engine is made of, a line for each thing that a reader should know. */
export function describeEngine({ cli, plugins }: Engine): readonly string[] {
  const by = (wanted: string) =>
    Object.entries(plugins)
      .filter(([, origin]) => origin === wanted)
      .map(([name]) => name)
      .join(", ");
  const standIns = by("stand-in");
  return [
    `Pulumi: ${cliOrigins[cli.origin]}`,
    ...(by("official") === "" ? [] : [`official plugins: ${by("official")}`]),
    ...(by("built") === "" ? [] : [`plugins built from their Go modules: ${by("built")}`]),
    ...(standIns === "" ? [] : [`stand-ins for plugins that can't be downloaded here: ${standIns}`]),
  ];
}

/** What `pulumi` needs to know to work on a stack that keeps its state in a folder. */
export function engineEnvironment(home: string, folder: string): Record<string, string> {
  return {
    PULUMI_HOME: home,
    PULUMI_BACKEND_URL: `file://${join(folder, "state")}`,
    PULUMI_CONFIG_PASSPHRASE_FILE: join(folder, "passphrase"),
    PULUMI_SKIP_UPDATE_CHECK: "1",
    // After a SIGKILL, objects exist that the state does not know of yet: take them over instead of failing.
    PULUMI_K8S_UPSERT_EXISTING_OBJECTS: "true",
    PULUMI_K8S_ENABLE_PATCH_FORCE: "true",
  };
}

/** Makes the folder of a stack's state and the passphrase of its secrets, where they are not there yet. */
export async function prepareState(folder: string): Promise<void> {
  await mkdir(join(folder, "state"), { recursive: true, mode: 0o700 });
  const passphrase = join(folder, "passphrase");
  if (!existsSync(passphrase)) await writeWhole(passphrase, randomBytes(24).toString("base64url"));
}

/**
 * Refuses a data folder whose stack was deployed by an earlier version's own deployer: Pulumi's engine knows nothing of
 * what that one declared.
 *
 * @throws OldSandboxError that says how to start afresh.
 */
export function refuseOldSandbox(layout: Layout): void {
  const trace = earlierVersions(layout).find((path) => existsSync(path));
  if (trace === undefined) return;
  throw new OldSandboxError(
    `${layout.data} holds a sandbox of an earlier version (${trace}), whose stack this version can't take over.\n` +
      "Nothing has been changed. To keep its data, copy what you need while that version runs it.\n" +
      "To start afresh, which deletes it: npm run sandbox -- down --purge, then npm run sandbox",
  );
}
