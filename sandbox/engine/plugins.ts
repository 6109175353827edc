import { existsSync } from "node:fs";
import { mkdir, readFile, rm, symlink } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";

import { z } from "zod";

import { engineBuilds, ensureBuild } from "../cluster/builds.ts";
import type { Layout } from "../layout.ts";
import type { Step } from "../progress.ts";
import type { Run } from "../run.ts";
import { writeWhole } from "../cluster/node/config-files.ts";
import { type Cli, commandsOnPath } from "./cli.ts";
import { installStandIns, standInNames } from "./plugins/install.ts";

/** The providers of the program, each a plugin that the engine starts. */
export const pluginNames = ["kubernetes", ...standInNames] as const;
export type PluginName = (typeof pluginNames)[number];

/** Where a plugin came from: the official one, one built from its Go module, or a stand-in of the sandbox's. */
export type PluginOrigin = "official" | "built" | "stand-in";

/** Where each plugin came from. */
export type Plugins = Readonly<Record<PluginName, PluginOrigin>>;

const pluginsSchema = z.record(z.enum(pluginNames), z.enum(["official", "built", "stand-in"]));
const packageSchema = z.looseObject({ version: z.string() });

/** Seconds for one official plugin's download; where its site is unreachable it fails at once. */
const downloadSeconds = 60;

/** A file beside a plugin that this program put there, saying what it is. */
const originFile = "sandbox-origin";

/**
 * Puts the program's plugins below a PULUMI_HOME, each in the version that its SDK asks for. An official one wins: on
 * the PATH, installed in the user's own PULUMI_HOME, or downloaded. Where there is none, `kubernetes` is built and the
 * others are stand-ins. Downloads are tried once: a later run finds what the first one put there.
 */
export async function preparePlugins(
  layout: Layout,
  home: string,
  cli: Cli,
  run: Run,
  step: Step,
): Promise<Plugins> {
  const origins: [PluginName, PluginOrigin][] = [];
  let online = true;
  for (const name of pluginNames) {
    const version = await sdkVersion(layout, name);
    const folder = join(home, "plugins", `resource-${name}-v${version}`);
    const installed = await installedPlugin(layout, name);
    if (installed !== undefined) await linkPlugin(folder, name, installed);
    else if (online && !existsSync(folder)) {
      step.doing(`asking for the official plugin ${name}`);
      online = await download(cli, home, name, version, run);
    }
    const official = existsSync(folder) && !existsSync(join(folder, originFile));
    origins.push([name, official ? "official" : await putOurs(layout, home, folder, name, run, step)]);
  }
  return pluginsSchema.parse(Object.fromEntries(origins));
}

async function putOurs(
  layout: Layout,
  home: string,
  folder: string,
  name: PluginName,
  run: Run,
  step: Step,
): Promise<PluginOrigin> {
  const origin = name === "kubernetes" ? "built" : "stand-in";
  if (name === "kubernetes") {
    const built = await ensureBuild(layout, run, step, engineBuilds.kubernetesProvider);
    await linkPlugin(folder, name, join(built, engineBuilds.kubernetesProvider.name));
  } else {
    await installStandIns(home, [name]);
  }
  await writeWhole(join(folder, originFile), `${origin}\n`);
  return origin;
}

/** A plugin that the user has: a binary on the PATH, or one in the PULUMI_HOME of theirs. */
async function installedPlugin(layout: Layout, name: PluginName): Promise<string | undefined> {
  const binary = `pulumi-resource-${name}`;
  const onPath = commandsOnPath(layout, binary)[0];
  if (onPath !== undefined) return onPath;
  const plugins = join(process.env["PULUMI_HOME"] ?? join(homedir(), ".pulumi"), "plugins");
  if (!existsSync(plugins)) return undefined;
  const version = await sdkVersion(layout, name);
  const path = join(plugins, `resource-${name}-v${version}`, binary);
  return existsSync(path) ? path : undefined;
}

async function linkPlugin(folder: string, name: PluginName, binary: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await symlink(binary, join(folder, `pulumi-resource-${name}`));
}

/** False when it could not be had, for which there is no need to ask for another. */
async function download(
  cli: Cli,
  home: string,
  name: PluginName,
  version: string,
  run: Run,
): Promise<boolean> {
  const command = join(cli.root, "bin/pulumi");
  const args = ["plugin", "install", "resource", name, `v${version}`];
  try {
    await run("timeout", [String(downloadSeconds), command, ...args], { env: { PULUMI_HOME: home } });
    return true;
  } catch {
    return false;
  }
}

/** The version of a plugin that the program asks the engine for: its SDK's own. */
async function sdkVersion(layout: Layout, name: PluginName): Promise<string> {
  const text = await readFile(join(layout.project, `node_modules/@pulumi/${name}/package.json`), "utf8");
  return packageSchema.parse(JSON.parse(text)).version;
}
