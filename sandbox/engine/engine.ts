import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import type { Layout } from "../layout.ts";
import { writeWhole } from "../cluster/node/config-files.ts";
import type { Run } from "../run.ts";

/** What deploys the stack: Pulumi's own CLI, or the embedded deployer where that can't be had. */
export type EngineName = "cli" | "embedded";

/** An engine that can be used here. */
export type Engine =
  | { readonly name: "cli"; readonly command: string; readonly why: string }
  | { readonly name: "embedded"; readonly why: string };

/** The engine that is asked for, or needed, can't be used. */
export class EngineUnfit extends Error {}

/** What was found on this machine, for the choice of an engine. */
export interface EngineFacts {
  /** What `--engine` asks for. */
  readonly asked: EngineName | undefined;
  /** The engine this sandbox's stack was deployed with. */
  readonly recorded: EngineName | undefined;
  /** A usable CLI; or why there is none. */
  readonly cli: { readonly command: string } | { readonly missing: string };
}

/** The providers of the program, each a plugin of the CLI's. */
const plugins = ["kubernetes", "minio", "random", "tls"];

/**
 * Chooses the engine. A stack keeps the engine it was made with: the other one knows nothing of what it declared, and
 * would neither change nor delete it.
 *
 * Throws {@link EngineUnfit} when the engine asked for, or the recorded one, can't be used.
 */
export function chooseEngine({ asked, recorded, cli }: EngineFacts): Engine {
  if (asked !== undefined && recorded !== undefined && asked !== recorded) {
    throw new EngineUnfit(
      `this sandbox's stack was deployed with the engine "${recorded}", and its state can't be taken over by "${asked}".\n` +
        `Go on with --engine ${recorded}, or start afresh: npm run sandbox -- down --purge, then npm run sandbox -- --engine ${asked}`,
    );
  }
  const wanted = asked ?? recorded;
  if (wanted === "embedded") {
    return { name: "embedded", why: asked === undefined ? "as before" : "as asked by --engine" };
  }
  if ("command" in cli) return { name: "cli", command: cli.command, why: `found at ${cli.command}` };
  if (wanted === "cli") {
    throw new EngineUnfit(
      `the Pulumi CLI is needed (${asked === undefined ? "this sandbox's stack was deployed with it" : "--engine cli"}), but ${cli.missing}.\n` +
        "Install it with its plugins (https://www.pulumi.com/docs/install/)" +
        (asked === undefined ? ", or start afresh: npm run sandbox -- down --purge" : ""),
    );
  }
  return { name: "embedded", why: `the Pulumi CLI can't be had: ${cli.missing}` };
}

/** Looks for a CLI and its plugins. */
export async function engineFacts(
  layout: Layout,
  asked: EngineName | undefined,
  run: Run,
): Promise<EngineFacts> {
  const recorded = await recordedEngine(layout);
  // Trying the npm package costs a request to its site: not for a stack that won't use it.
  const cli = (asked ?? recorded) === "embedded" ? { missing: "not looked for" } : await findCli(layout, run);
  return { asked, recorded, cli };
}

/** The engine this data folder's stack was deployed with. */
export async function recordedEngine(layout: Layout): Promise<EngineName | undefined> {
  try {
    const text = (await readFile(layout.engineFile, "utf8")).trim();
    return text === "cli" || text === "embedded" ? text : undefined;
  } catch {
    return undefined;
  }
}

/** Remembers the engine, before it does anything. */
export async function recordEngine(layout: Layout, name: EngineName): Promise<void> {
  await writeWhole(layout.engineFile, `${name}\n`);
}

/**
 * A CLI on the PATH counts when its plugins are there, for it can't be known whether it could fetch them. The npm
 * package's counts when it could fetch the CLI itself: what serves that serves the plugins too.
 */
async function findCli(layout: Layout, run: Run): Promise<EngineFacts["cli"]> {
  const npmBinaries = join(layout.project, "node_modules/.bin");
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== npmBinaries);
  const command = folders.map((folder) => join(folder, "pulumi")).find((path) => existsSync(path));
  if (command !== undefined) {
    const missing = [];
    for (const plugin of plugins) if (!(await hasPlugin(plugin, folders))) missing.push(plugin);
    if (missing.length === 0) return { command };
    return { missing: `${command} lacks the plugins ${missing.join(", ")}` };
  }
  const packaged = join(npmBinaries, "pulumi");
  if (!existsSync(packaged)) return { missing: "there is none on the PATH" };
  try {
    await run("timeout", ["120", packaged, "version"], { env: { PULUMI_SKIP_UPDATE_CHECK: "1" } });
    return { command: packaged };
  } catch {
    return { missing: "there is none on the PATH, and the npm package could not fetch it" };
  }
}

async function hasPlugin(name: string, folders: readonly string[]): Promise<boolean> {
  const binary = `pulumi-resource-${name}`;
  if (folders.some((folder) => existsSync(join(folder, binary)))) return true;
  const home = process.env["PULUMI_HOME"] ?? join(process.env["HOME"] ?? "/root", ".pulumi");
  try {
    const installed = await readdir(join(home, "plugins"));
    return installed.some(
      (folder) => folder.startsWith(`resource-${name}-v`) && !folder.endsWith(".partial"),
    );
  } catch {
    return false;
  }
}
