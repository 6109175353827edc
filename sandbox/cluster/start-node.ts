import { setTimeout as sleep } from "node:timers/promises";
import { Cluster, until } from "./cluster.ts";
import { type Layout, nodeName } from "../layout.ts";
import { type NodeRecord, runningNode, startNode, stopNode, supervisorLogTail } from "./node/host.ts";
import { readStatus, writePlan } from "./node/plan.ts";
import type { Step } from "../progress.ts";
import { type Run, runner } from "../run.ts";

/** A node that serves, and whether this run had to start it. */
export interface ServingNode {
  readonly record: NodeRecord;
  readonly cluster: Cluster;
  readonly isNew: boolean;
}

/** Leaves a node alone that runs as it should, starts one otherwise; a failed or interrupted start leaves none. */
export async function ensureNode(
  layout: Layout,
  kubernetes: string,
  run: Run,
  signal: AbortSignal,
  step: Step,
): Promise<ServingNode> {
  const before = await runningNode(layout);
  const plan = await writePlan(layout, kubernetes, run);
  if (before !== undefined) {
    if (before.fingerprint === plan.fingerprint) {
      const cluster = new Cluster(layout.kubeconfig);
      step.doing("waiting for the running node to answer");
      if (await serves(layout, cluster, signal)) {
        step.note("it runs already");
        return { record: before, cluster, isNew: false };
      }
      step.note("it runs, but its API server does not answer: restarting it");
    } else {
      step.note("its configuration or its binaries have changed: restarting it");
    }
    step.doing("stopping the node");
    await stopNode(layout, run);
  }
  const record = await startNode(layout, plan.fingerprint, run);
  try {
    const cluster = new Cluster(layout.kubeconfig);
    step.doing("waiting for the API server");
    await until("the API server answers", 120, signal, () => stillRunning(layout, () => cluster.isServing()));
    step.doing("waiting for the kubelet");
    const since = new Date(record.startedAt);
    await until("the node is ready", 120, signal, () => cluster.nodeIsReady(nodeName, since));
    step.doing("waiting for the pods of before");
    await until("the kubelet looks at the pods", 60, signal, () => cluster.podsAreUpToDate(since));
    return { record, cluster, isNew: true };
  } catch (error) {
    if (!signal.aborted) step.note(await failureDetails(layout));
    await stopFailedNode(layout, step);
    throw error;
  }
}

/** Stops the node in spite of an interruption: a run must not leave behind what it could not bring to its end. */
export async function stopFailedNode(layout: Layout, step: Pick<Step, "note">): Promise<void> {
  step.note("stopping the node that this run had started");
  await stopNode(layout, runner(new AbortController().signal));
}

/** Whether a node that runs answers, within the time that a killed run's half-started one may yet need. */
async function serves(layout: Layout, cluster: Cluster, signal: AbortSignal): Promise<boolean> {
  const deadline = Date.now() + 30_000;
  while (Date.now() < deadline && (await runningNode(layout)) !== undefined) {
    if (await cluster.isServing()) return true;
    await sleep(250, undefined, { signal }).catch(() => undefined);
    signal.throwIfAborted();
  }
  return false;
}

async function stillRunning(layout: Layout, question: () => Promise<boolean>): Promise<boolean> {
  return (await runningNode(layout)) !== undefined && question();
}

async function failureDetails(layout: Layout): Promise<string> {
  const failing = (await readStatus(layout)).filter(({ running, restarts }) => !running || restarts > 0);
  const names = failing.map(({ name }) => name).join(", ");
  const hint = names === "" ? "" : `not running as they should: ${names}; their logs are in ${layout.logs}\n`;
  return `${hint}${await supervisorLogTail(layout)}`;
}
