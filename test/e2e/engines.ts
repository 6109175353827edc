import { spawn } from "node:child_process";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { parse, stringify } from "yaml";

import { engineFacts } from "../../sandbox/engine/engine.ts";
import { layoutOf, network } from "../../sandbox/layout.ts";
import { runner } from "../../sandbox/run.ts";

export const layout = layoutOf();
export const run = runner(new AbortController().signal);

/** How many resources an engine means to touch, by what it means to do. */
export type Plan = Readonly<Record<string, number>>;

/** An engine with a stack of its own on the sandbox's cluster, apart from the one that `npm run sandbox` made. */
export interface StackUnderTest {
  readonly namespace: string;
  readonly apiUrl: string;
  readonly downloadUrl: string;
  /** Deploys the dev stack, with these settings changed. */
  up(change?: Settings): Promise<void>;
  /** What `up` would do. */
  preview(change?: Settings): Promise<Plan>;
  destroy(): Promise<void>;
}

/** Settings by key: merged into the stack file's value of that key, or, if it is a list, in its place. */
export type Settings = Readonly<Record<string, Readonly<Record<string, unknown>> | unknown[]>>;

/** Where a stack under test has its namespace, files and ports. */
export interface Place {
  readonly namespace: string;
  readonly folder: string;
  readonly apiPort: number;
  readonly downloadPort: number;
  readonly tunnelPort: number;
}

const at = (port: number) => ({
  publicUrl: `https://${network.nodeAddress}:${port}`,
  expose: { type: "NodePort", nodePort: port },
});

/** The sandbox's own stack file, moved to another namespace and other ports. */
async function stackFile(place: Place, change: Settings): Promise<string> {
  const stack = parse(await readFile(layout.stackFile, "utf8"));
  const config: Record<string, Record<string, unknown>> = stack.config;
  const moved: Record<string, unknown> = {
    ...config,
    "geocrop-storage:namespace": place.namespace,
    "geocrop-storage:tunnelPort": place.tunnelPort,
    "geocrop-storage:api": { ...config["geocrop-storage:api"], ...at(place.apiPort) },
    "geocrop-storage:downloads": { ...config["geocrop-storage:downloads"], ...at(place.downloadPort) },
  };
  for (const [key, values] of Object.entries(change)) {
    moved[`geocrop-storage:${key}`] = Array.isArray(values)
      ? values
      : { ...config[`geocrop-storage:${key}`], ...values };
  }
  const path = join(place.folder, "Pulumi.dev.yaml");
  await mkdir(place.folder, { recursive: true, mode: 0o700 });
  const salt = await encryptionSalt(place);
  await writeFile(path, stringify({ ...salt, config: moved }), { mode: 0o600 });
  return path;
}

/** Runs a command to its end and hands back both its outputs, its exit code with them. */
export function command(
  name: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  cwd: string = layout.project,
): { readonly done: Promise<{ code: number | null; output: string }>; kill(): void } {
  const child = spawn(name, args, {
    cwd,
    env: { ...process.env, KUBECONFIG: layout.kubeconfig, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output += text));
  const done = new Promise<{ code: number | null; output: string }>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, output }));
  });
  return { done, kill: () => child.kill("SIGKILL") };
}

async function succeed(running: ReturnType<typeof command>): Promise<string> {
  const { code, output } = await running.done;
  if (code !== 0) throw new Error(`exit code ${code}:\n${output}`);
  return output;
}

function stackAt(
  place: Place,
  engine: {
    prepare?: () => Promise<void>;
    up(file: string): Promise<unknown>;
    preview(file: string): Promise<Plan>;
    destroy(file: string): Promise<unknown>;
  },
): StackUnderTest {
  const file = async (change: Settings = {}): Promise<string> => {
    await engine.prepare?.();
    return stackFile(place, change);
  };
  return {
    namespace: place.namespace,
    apiUrl: `https://${network.nodeAddress}:${place.apiPort}`,
    downloadUrl: `https://${network.nodeAddress}:${place.downloadPort}`,
    up: async (change) => void (await engine.up(await file(change))),
    preview: async (change) => engine.preview(await file(change)),
    destroy: async () => void (await engine.destroy(await file())),
  };
}

/** The embedded deployer's command line for a stack of its own. */
export function embeddedCommand(verb: string, place: Place, file: string, mc: string) {
  return command(process.execPath, [
    "sandbox/engine/embedded/main.ts",
    verb,
    "--stack",
    "dev",
    "--config-file",
    file,
    "--state",
    join(place.folder, "state.json"),
    "--mc",
    mc,
    "--json",
  ]);
}

export const embeddedPlace: Place = {
  namespace: "geocrop-e2e-embedded",
  folder: join(layout.data, "e2e/embedded"),
  apiPort: 30453,
  downloadPort: 30454,
  tunnelPort: 39011,
};

export function embeddedStack(mc: string, place: Place = embeddedPlace): StackUnderTest {
  return stackAt(place, {
    up: (file) => succeed(embeddedCommand("up", place, file, mc)),
    preview: async (file) => {
      const output = await succeed(embeddedCommand("preview", place, file, mc));
      const summary = output
        .split("\n")
        .filter((line) => line.startsWith("{"))
        .map((line): { event: string; changes: Plan } => JSON.parse(line))
        .find(({ event }) => event === "summary");
      if (summary === undefined) throw new Error(`the preview has no summary:\n${output}`);
      return summary.changes;
    },
    destroy: (file) => succeed(embeddedCommand("destroy", place, file, mc)),
  });
}

/** A stack file as the embedded deployer's tests need it by itself. */
export const embeddedStackFile = (): Promise<string> => stackFile(embeddedPlace, {});

export const cliPlace: Place = {
  namespace: "geocrop-e2e-cli",
  folder: join(layout.data, "e2e/cli"),
  apiPort: 30463,
  downloadPort: 30464,
  tunnelPort: 39012,
};

const passphrase = join(cliPlace.folder, "passphrase");
const cliEnvironment = {
  PULUMI_BACKEND_URL: `file://${join(cliPlace.folder, "state")}`,
  PULUMI_CONFIG_PASSPHRASE_FILE: passphrase,
  PULUMI_SKIP_UPDATE_CHECK: "1",
};

/** The Pulumi CLI with its plugins, or why there is none. */
export async function findCli(): Promise<{ command: string } | { missing: string }> {
  return (await engineFacts({ ...layout, engineFile: "/nonexistent" }, "cli", run)).cli;
}

/** Runs the CLI on its stack. */
export function pulumi(cli: string, args: readonly string[], file: string) {
  const options = ["--stack", "dev", "--config-file", file, "--non-interactive", "--color", "never"];
  return command(cli, [...args, ...options], cliEnvironment);
}

export function cliStack(cli: string): StackUnderTest {
  return stackAt(cliPlace, {
    prepare: async () => {
      if ((await encryptionSalt(cliPlace)) !== undefined) return;
      const folder = join(cliPlace.folder, "init");
      await mkdir(join(cliPlace.folder, "state"), { recursive: true, mode: 0o700 });
      await mkdir(folder, { recursive: true });
      await writeFile(passphrase, "only for the stack under test", { mode: 0o600 });
      await copyFile(join(layout.project, "Pulumi.yaml"), join(folder, "Pulumi.yaml"));
      const select = ["stack", "select", "--create", "dev", "--non-interactive"];
      await succeed(command(cli, select, cliEnvironment, folder));
    },
    up: (file) => succeed(pulumi(cli, ["up", "--yes", "--skip-preview"], file)),
    preview: async (file) => {
      const output = await succeed(pulumi(cli, ["preview", "--json"], file));
      const report: { changeSummary: Plan } = JSON.parse(output.slice(output.indexOf("{\n")));
      return report.changeSummary;
    },
    destroy: (file) => succeed(pulumi(cli, ["destroy", "--yes", "--skip-preview", "--run-program"], file)),
  });
}

/** The passphrase's salt, which `stack init` writes into the stack file. */
async function encryptionSalt(place: Place): Promise<{ encryptionsalt: string } | undefined> {
  try {
    const { encryptionsalt } = parse(await readFile(join(place.folder, "init/Pulumi.dev.yaml"), "utf8"));
    return typeof encryptionsalt === "string" ? { encryptionsalt } : undefined;
  } catch {
    return undefined;
  }
}
