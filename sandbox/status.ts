import { existsSync } from "node:fs";
import { Cluster, isReady } from "./cluster/cluster.ts";
import { stackNamespace } from "./engine/deploy.ts";
import { sizeOf } from "./down.ts";
import { type Layout, network, nodeName } from "./layout.ts";
import { memoryUsed } from "./cluster/node/cgroups.ts";
import { runningNode } from "./cluster/node/host.ts";
import { type ComponentStatus, readStatus } from "./cluster/node/plan.ts";
import { type CurrentRun, currentRun } from "./lock.ts";
import { elapsed, size } from "./progress.ts";
import { runner } from "./run.ts";

/** A pod, and whether it does what it is there for. */
export interface PodStatus {
  readonly namespace: string;
  readonly name: string;
  readonly ready: boolean;
  readonly phase: string;
  readonly restarts: number;
}

/** All that `status` tells. */
export interface Status {
  /** True when the node, its components, DNS and every pod of the stack are ready. */
  readonly ready: boolean;
  readonly node: { readonly running: boolean; readonly ready: boolean; readonly startedAt?: string };
  readonly components: readonly ComponentStatus[];
  readonly pods: readonly PodStatus[];
  /** The stack's namespace has pods. */
  readonly deployed: boolean;
  /** A run that is under way, such as one that is still building. */
  readonly run?: CurrentRun;
  readonly memoryBytes?: number;
  readonly dataBytes: number;
  readonly cacheBytes: number;
}

/** Looks at the sandbox; changes nothing. */
export async function readSandbox(layout: Layout): Promise<Status> {
  const run = runner(new AbortController().signal);
  const record = await runningNode(layout);
  const bytes = async (path: string): Promise<number> => (existsSync(path) ? sizeOf(path, run) : 0);
  const underWay = await currentRun(layout.lock);
  const common = {
    dataBytes: await bytes(layout.data),
    cacheBytes: await bytes(layout.cache),
    ...(underWay === undefined ? {} : { run: underWay }),
  };
  if (record === undefined) {
    return {
      ready: false,
      node: { running: false, ready: false },
      components: [],
      pods: [],
      deployed: false,
      ...common,
    };
  }
  const components = await readStatus(layout);
  const { nodeReady, pods } = await readCluster(new Cluster(layout.kubeconfig));
  const namespace = await stackNamespace(layout);
  const deployed = pods.some((pod) => pod.namespace === namespace);
  const ours = pods.filter((pod) => ["kube-system", namespace].includes(pod.namespace));
  const memoryBytes = await memoryUsed();
  return {
    ready:
      nodeReady &&
      deployed &&
      components.every(({ running }) => running) &&
      ours.some((pod) => pod.namespace === "kube-system") &&
      ours.every(({ ready }) => ready),
    node: { running: true, ready: nodeReady, startedAt: record.startedAt },
    components,
    pods,
    deployed,
    ...common,
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
  };
}

async function readCluster(cluster: Cluster): Promise<{ nodeReady: boolean; pods: readonly PodStatus[] }> {
  try {
    const nodeReady = await cluster.nodeIsReady(nodeName, new Date(0));
    const { items } = await cluster.core.listPodForAllNamespaces();
    const pods = items.map((pod) => ({
      namespace: pod.metadata?.namespace ?? "",
      name: pod.metadata?.name ?? "",
      phase: pod.status?.phase ?? "Unknown",
      restarts: (pod.status?.containerStatuses ?? []).reduce(
        (sum, { restartCount }) => sum + restartCount,
        0,
      ),
      // A pod that has done its work is as good as a ready one.
      ready: pod.status?.phase === "Succeeded" || isReady(pod),
    }));
    return { nodeReady, pods };
  } catch {
    return { nodeReady: false, pods: [] };
  }
}

/** The status as text for a person. */
export function describe(status: Status, now: Date): string {
  const lines: string[] = [];
  const { node, run } = status;
  if (run !== undefined) {
    const activity = run.activity === "" ? "" : `: ${run.activity}`;
    lines.push(`run         under way, process ${String(run.pid)}${activity}`);
  }
  if (node.startedAt === undefined) {
    lines.push(`node        ${run === undefined ? "stopped" : "not running"}`);
  } else {
    const age = elapsed(now.getTime() - new Date(node.startedAt).getTime());
    lines.push(`node        ${node.ready ? "ready" : "NOT READY"}, ${network.nodeAddress}, up for ${age}`);
  }
  for (const { name, running, restarts } of status.components) {
    lines.push(`            ${running ? "running" : "STOPPED"}  ${name}${restartNote(restarts)}`);
  }
  if (node.running) {
    const readyCount = status.pods.filter(({ ready }) => ready).length;
    lines.push(`pods        ${String(readyCount)} of ${String(status.pods.length)} ready`);
    for (const { namespace, name, ready, phase, restarts } of status.pods) {
      lines.push(
        `            ${ready ? "ready" : `NOT READY (${phase})`}  ${namespace}/${name}${restartNote(restarts)}`,
      );
    }
    if (!status.deployed) lines.push("stack       NOT DEPLOYED");
  }
  if (status.memoryBytes !== undefined) lines.push(`memory      ${size(status.memoryBytes)}`);
  lines.push(`disk        data ${size(status.dataBytes)}, cache ${size(status.cacheBytes)}`);
  lines.push(status.ready ? "ready" : "not ready");
  return lines.join("\n");
}

function restartNote(restarts: number): string {
  if (restarts === 0) return "";
  return `  (started again ${String(restarts)} ${restarts === 1 ? "time" : "times"})`;
}
