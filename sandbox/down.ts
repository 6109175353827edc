import { existsSync } from "node:fs";
import { readdir, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import type { Layout } from "./layout.ts";
import { otherNodesData, stopNode } from "./cluster/node/host.ts";
import { type Progress, size } from "./progress.ts";
import { type Run, runner } from "./run.ts";

/** What `down` did. */
export interface DownReport {
  readonly wasRunning: boolean;
  readonly deleted: readonly { readonly what: string; readonly path: string; readonly bytes: number }[];
}

/** Stops the node, and deletes what is asked for, saying what it was. It is not to be interrupted half-way. */
export async function down(
  layout: Layout,
  { purge, cache }: { readonly purge: boolean; readonly cache: boolean },
  progress: Progress,
): Promise<DownReport> {
  const run = runner(new AbortController().signal);
  const other = await otherNodesData(layout);
  if (other !== undefined) {
    throw new Error(
      `the sandbox that runs has its data in ${other}: name that folder in GEOCROP_SANDBOX_DATA`,
    );
  }
  const wasRunning = await progress.step("Stop the node", async (step) => {
    const wasRunning = await stopNode(layout, run);
    if (!wasRunning) step.note("it was not running");
    return wasRunning;
  });
  if (!purge) {
    progress.line(`Data stays in ${layout.data}; "down --purge" deletes it.`);
    return { wasRunning, deleted: [] };
  }
  const deleted = await progress.step("Delete", async (step) => {
    const deleted = [];
    for (const { what, path } of await ownedPaths(layout, cache)) {
      const bytes = await sizeOf(path, run);
      await rm(path, { recursive: true, force: true });
      step.note(`${what}: ${path} (${size(bytes)})`);
      deleted.push({ what, path, bytes });
    }
    if (deleted.length === 0) step.note("there was nothing");
    return deleted;
  });
  for (const folder of [layout.data, layout.cache]) await removeIfEmpty(folder);
  if (existsSync(layout.cache))
    progress.line(`What was built stays in ${layout.cache}; --purge --cache deletes it.`);
  return { wasRunning, deleted };
}

/** What the sandbox has on the disk, item by item. Only what it made itself: a folder given to it may hold more. */
async function ownedPaths(
  layout: Layout,
  withCache: boolean,
): Promise<readonly { what: string; path: string }[]> {
  const known = [
    { what: "volumes of the pods", path: layout.volumes },
    { what: "state of the cluster", path: layout.etcd },
    { what: "images and containers", path: layout.containerd },
    { what: "folder of the kubelet", path: layout.kubelet },
    { what: "logs", path: layout.logs },
    { what: "keys and certificates", path: layout.pki },
    { what: "configuration", path: layout.config },
    { what: "stack file and state of Pulumi", path: layout.pulumi },
    { what: "administrator's kubeconfig", path: layout.kubeconfig },
    { what: "authority's certificate", path: layout.caFile },
    { what: "input of the smoke test", path: layout.scratch },
    ...earlierVersions(layout).map((path) => ({ what: "left by an earlier version", path })),
  ];
  const cached = withCache && existsSync(layout.cache) ? await readdir(layout.cache) : [];
  return [
    ...known,
    ...cached.map((name) => ({ what: "built or fetched", path: join(layout.cache, name) })),
  ].filter(({ path }) => existsSync(path));
}

/** What earlier versions, which had a deployer of their own, kept in the data folder. */
export function earlierVersions(layout: Layout): readonly string[] {
  return ["engine", "embedded-state.json", "Pulumi.dev.yaml"].map((name) => join(layout.data, name));
}

/** Bytes on the disk, which `du` knows best. */
export async function sizeOf(path: string, run: Run): Promise<number> {
  const { stdout } = await run("du", ["--summarize", "--block-size=1", "--one-file-system", path]);
  return Number.parseInt(stdout, 10);
}

async function removeIfEmpty(folder: string): Promise<void> {
  // Somebody else's files in it are no fault.
  await rmdir(folder).catch(() => undefined);
}
