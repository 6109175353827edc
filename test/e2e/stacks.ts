import { spawn } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { parse, stringify } from "yaml";

import { removeDeadLocks } from "../../sandbox/engine/deploy.ts";
import { type Engine, engineEnvironment, prepareEngine, prepareState } from "../../sandbox/engine/engine.ts";
import type { OperationResult } from "../../sandbox/engine/stack.ts";
import { layoutOf, network } from "../../sandbox/layout.ts";
import { runner } from "../../sandbox/run.ts";

export const layout = layoutOf();
export const run = runner(new AbortController().signal);

/** How many resources the engine means to touch, by what it means to do. */
export type Plan = Readonly<Record<string, number>>;

/** A stack of its own on the sandbox's cluster, apart from the one that `npm run sandbox` made. */
export interface StackUnderTest {
  readonly namespace: string;
  readonly apiUrl: string;
  readonly downloadUrl: string;
  /** Deploys the dev stack, with these settings changed. */
  up(change?: Settings): Promise<void>;
  /** What `up` would do. */
  preview(change?: Settings): Promise<Plan>;
  destroy(): Promise<void>;
  /** Starts an operation of the engine, to be killed or to fail. Arguments as of sandbox/engine/stack.ts. */
  start(operation: string, change?: Settings, ...args: readonly string[]): Promise<RunningCommand>;
}

/** A command under way. */
export interface RunningCommand {
  readonly done: Promise<{ readonly code: number | null; readonly stdout: string; readonly output: string }>;
  /** Ends it by SIGKILL, and all that it started. */
  kill(): void;
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
): RunningCommand {
  const child = spawn(name, args, {
    cwd,
    env: { ...process.env, KUBECONFIG: layout.kubeconfig, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let stdout = "";
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    output += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output += text));
  const done = new Promise<{ code: number | null; stdout: string; output: string }>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, output }));
  });
  return { done, kill: () => void (child.pid !== undefined && process.kill(-child.pid, "SIGKILL")) };
}

/** Pulumi's engine as this machine has it: the one that `npm run sandbox` deploys by. */
let engine: Promise<Engine> | undefined;
export function sandboxEngine(): Promise<Engine> {
  engine ??= prepareEngine(layout, run, { note: () => undefined, doing: () => undefined });
  return engine;
}

/** The dev stack in a namespace, folder and ports of its own. */
export function stackAt(place: Place): StackUnderTest {
  const start = async (
    operation: string,
    change: Settings = {},
    ...args: readonly string[]
  ): Promise<RunningCommand> => {
    const { cli, home } = await sandboxEngine();
    await prepareState(place.folder);
    await removeDeadLocks(place.folder);
    await stackFile(place, change);
    return command(
      process.execPath,
      ["sandbox/engine/stack.ts", operation, "--cli", cli.root, "--folder", place.folder, "--json", ...args],
      engineEnvironment(home, place.folder),
    );
  };
  const operate = async (operation: string, change?: Settings): Promise<OperationResult> => {
    const { code, stdout, output } = await (await start(operation, change)).done;
    if (code !== 0) throw new Error(`${operation} ended with exit code ${code}:\n${output.slice(-8000)}`);
    return JSON.parse(stdout);
  };
  return {
    namespace: place.namespace,
    apiUrl: `https://${network.nodeAddress}:${place.apiPort}`,
    downloadUrl: `https://${network.nodeAddress}:${place.downloadPort}`,
    up: async (change) => void (await operate("up", change)),
    preview: async (change) => (await operate("preview", change)).changes,
    destroy: async () => void (await operate("destroy")),
    start,
  };
}

/** The salt of the passphrase, which the engine writes into the stack file. */
async function encryptionSalt(place: Place): Promise<{ encryptionsalt: string } | undefined> {
  try {
    const { encryptionsalt } = parse(await readFile(join(place.folder, "Pulumi.dev.yaml"), "utf8"));
    return typeof encryptionsalt === "string" ? { encryptionsalt } : undefined;
  } catch {
    return undefined;
  }
}
