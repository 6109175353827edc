import { spawn } from "node:child_process";
import { existsSync, openSync, closeSync } from "node:fs";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { type Layout, network } from "../../layout.ts";
import { CommandError, lastLines, type Run, type RunOptions, type RunResult } from "../../run.ts";
import { createCgroups, processesIn, removeCgroups } from "./cgroups.ts";
import { writeWhole } from "./config-files.ts";
import { planPath } from "./plan.ts";

const recordSchema = z.object({
  /** The process on the host that holds the namespaces: when it ends, all ends. */
  holder: z.number(),
  /** The node's first process, as the host numbers it. */
  init: z.number(),
  /** When the init started, in clock ticks since boot: tells it from another process with its number. */
  initBegan: z.string(),
  fingerprint: z.string(),
  startedAt: z.string(),
  /** The data folder it works on. */
  data: z.string(),
});

/** The running node, as the host sees it. */
export type NodeRecord = z.infer<typeof recordSchema>;

/** The node that runs now on this data folder; undefined when none does, whatever an old record says. */
export async function runningNode(layout: Layout): Promise<NodeRecord | undefined> {
  const record = await livingNode(layout);
  return record?.data === layout.data ? record : undefined;
}

/** The data folder of a node that runs on another one: there is one network for either, so it is in the way. */
export async function otherNodesData(layout: Layout): Promise<string | undefined> {
  const record = await livingNode(layout);
  return record?.data === layout.data ? undefined : record?.data;
}

async function livingNode(layout: Layout): Promise<NodeRecord | undefined> {
  let record: NodeRecord;
  try {
    record = recordSchema.parse(JSON.parse(await readFile(layout.nodeRecord, "utf8")));
  } catch {
    return undefined;
  }
  return (await processStartTime(record.init)) === record.initBegan ? record : undefined;
}

/**
 * Starts the node in its own namespaces and gives it its end of the veth pair. Returns as soon as its supervisor is at
 * work; the components answer later. On failure nothing of it is left.
 */
export async function startNode(layout: Layout, fingerprint: string, run: Run): Promise<NodeRecord> {
  for (const folder of [layout.runtime, layout.logs, layout.volumes])
    await mkdir(folder, { recursive: true });
  await removeLeftovers(layout, run);
  const cgroupFiles = await createCgroups();
  const holder = launchNode(layout, cgroupFiles);
  try {
    const init = await firstChild(holder);
    const record: NodeRecord = {
      holder,
      init,
      initBegan: (await processStartTime(init)) ?? "",
      fingerprint,
      startedAt: new Date().toISOString(),
      data: layout.data,
    };
    await run("ip", [
      "link",
      "add",
      network.hostInterface,
      "type",
      "veth",
      "peer",
      "name",
      "eth0",
      "netns",
      String(init),
    ]);
    const address = `${network.hostAddress}/${String(network.prefixLength)}`;
    await run("ip", ["address", "add", address, "dev", network.hostInterface]);
    await run("ip", ["link", "set", network.hostInterface, "up"]);
    // Last of all: a run killed before this leaves a node that counts as none, and is ended by the next.
    await writeWhole(layout.nodeRecord, JSON.stringify(record));
    return record;
  } catch (error) {
    kill(holder, "SIGKILL");
    await stopNode(layout, run);
    throw error;
  }
}

/**
 * Stops the node, if one runs, and removes what it had on the host: the record and the control group; the interface
 * and everything else go with the namespaces. Not to be interrupted: half of it would be worse than either end.
 */
export async function stopNode(layout: Layout, run: Run): Promise<boolean> {
  const node = await runningNode(layout);
  if (node !== undefined) {
    kill(node.init, "SIGTERM");
    await waitForExit(node.init, 30_000);
    kill(node.holder, "SIGKILL");
    await waitForExit(node.init, 10_000);
  }
  await removeLeftovers(layout, run);
  return node !== undefined;
}

/** Runs a command inside the node's namespaces. */
export function runInNode(
  node: NodeRecord,
  run: Run,
  command: string,
  args: readonly string[],
  options?: RunOptions,
): Promise<RunResult> {
  return run(
    "nsenter",
    ["--target", String(node.init), "--mount", "--net", "--pid", "--uts", "--ipc", "--", command, ...args],
    options,
  );
}

/** What the supervisor last said: why a node did not come up. */
export async function supervisorLogTail(layout: Layout): Promise<string> {
  try {
    return lastLines(await readFile(join(layout.logs, "supervisor.log"), "utf8"), 15);
  } catch {
    return "";
  }
}

/**
 * `unshare` waits outside and holds the namespaces: if it is killed, so is the node's init, and the kernel ends the rest.
 * Mounts of the host still show inside, so that it can unmount what it likes; none from inside shows on the host.
 */
function launchNode(layout: Layout, cgroupFiles: readonly string[]): number {
  const log = openSync(join(layout.logs, "supervisor.log"), "a", 0o600);
  const enterCgroups =
    'for file do shift; [ "$file" = -- ] && break; echo $$ > "$file" || exit 1; done; exec "$@"';
  const child = spawn(
    "/bin/sh",
    [
      "-c",
      enterCgroups,
      "sandbox",
      ...cgroupFiles,
      "--",
      "unshare",
      "--mount",
      "--net",
      "--pid",
      "--uts",
      "--ipc",
      "--fork",
      "--kill-child",
      "--propagation",
      "slave",
      "--mount-proc",
      "catatonit",
      "--",
      process.execPath,
      join(layout.project, "sandbox/cluster/node/supervisor.ts"),
      planPath(layout),
    ],
    { cwd: "/", detached: true, stdio: ["ignore", log, log] },
  );
  closeSync(log);
  child.unref();
  if (child.pid === undefined) throw new Error("the node's first process could not be started");
  return child.pid;
}

/** Waits for the one child of the namespaces' holder: the node's init. */
async function firstChild(holder: number): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    for (const entry of await readdir("/proc")) {
      if (!/^\d+$/.test(entry)) continue;
      const stat = await processStat(Number(entry));
      // Before it execs the init, the child still bears the name of unshare.
      if (stat?.parent === holder && stat.name === "catatonit") return Number(entry);
    }
    if (!existsSync(`/proc/${String(holder)}`)) break;
    await sleep(50);
  }
  throw new CommandError("unshare", "the node's namespaces could not be made", undefined, {
    stdout: "",
    stderr: "",
  });
}

async function removeLeftovers(layout: Layout, run: Run): Promise<void> {
  // A run killed at the wrong moment leaves a node without a record; whoever is in our control group is ours.
  for (const pid of await processesIn("")) {
    kill(pid, "SIGKILL");
    await waitForExit(pid, 5_000);
  }
  await removeCgroups();
  // The kernel takes the interface away with the node's network, a moment after the last process has ended.
  const interfaceFile = `/sys/class/net/${network.hostInterface}`;
  if (!(await waitUntilGone(interfaceFile, 5_000))) {
    await run("ip", ["link", "delete", network.hostInterface], { uninterruptible: true });
  }
  await rm(layout.nodeRecord, { force: true });
}

/** Waits for a process to end. */
function waitForExit(pid: number, timeoutMs: number): Promise<boolean> {
  return waitUntilGone(`/proc/${String(pid)}`, timeoutMs);
}

async function waitUntilGone(path: string, timeoutMs: number): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  while (existsSync(path) && Date.now() < deadline) await sleep(50);
  return !existsSync(path);
}

async function processStartTime(pid: number): Promise<string | undefined> {
  return (await processStat(pid))?.startTime;
}

/** Fields of `/proc/PID/stat` (proc(5)). The name stands in parentheses and may hold spaces. */
async function processStat(
  pid: number,
): Promise<{ name: string; parent: number; startTime: string } | undefined> {
  let text: string;
  try {
    text = await readFile(`/proc/${String(pid)}/stat`, "utf8");
  } catch {
    return undefined;
  }
  const close = text.lastIndexOf(")");
  const fields = text.slice(close + 2).split(" ");
  return {
    name: text.slice(text.indexOf("(") + 1, close),
    parent: Number(fields[1]),
    startTime: fields[19] ?? "",
  };
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended.
  }
}
