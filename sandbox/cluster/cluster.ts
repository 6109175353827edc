import { setTimeout as sleep } from "node:timers/promises";
import {
  ApiException,
  AppsV1Api,
  CoreV1Api,
  KubeConfig,
  type KubernetesObject,
  type V1Pod,
} from "@kubernetes/client-node";

import { applyObjects } from "../../tools/kube/apply.ts";

/** Name under which the sandbox applies its own objects. */
const fieldManager = "geocrop-sandbox";

/** Everything the sandbox asks of the cluster. */
export class Cluster {
  readonly config = new KubeConfig();
  readonly core: CoreV1Api;
  readonly apps: AppsV1Api;

  constructor(kubeconfig: string) {
    this.config.loadFromFile(kubeconfig);
    this.core = this.config.makeApiClient(CoreV1Api);
    this.apps = this.config.makeApiClient(AppsV1Api);
  }

  /** Server-side apply: creates what is missing, changes what differs, and nothing else. */
  async apply(objects: readonly KubernetesObject[]): Promise<void> {
    await applyObjects(this.config, objects, fieldManager);
  }

  /** Whether the API server says that it is ready, its hooks included. */
  async isServing(): Promise<boolean> {
    try {
      await this.core.readNamespace({ name: "kube-system" });
      return true;
    } catch {
      return false;
    }
  }

  /**
   * Whether the node is ready, by word of a kubelet that came up after `since`: what an earlier one said stays in the
   * cluster's state while the node is down.
   */
  async nodeIsReady(name: string, since: Date): Promise<boolean> {
    const node = await orUndefinedWhenMissing(this.core.readNode({ name }));
    const ready = node?.status?.conditions?.find((condition) => condition.type === "Ready");
    return ready?.status === "True" && (ready.lastHeartbeatTime ?? new Date(0)) >= since;
  }

  /**
   * Whether every pod's state is by word of the kubelet that came up after `since`. Until it has looked at them, pods
   * count as running and ready that ended with the node.
   */
  async podsAreUpToDate(since: Date): Promise<boolean> {
    // The cluster's times have no fractions.
    const wholeSeconds = Math.floor(since.getTime() / 1000) * 1000;
    const { items } = await this.core.listPodForAllNamespaces();
    return items
      .flatMap(({ status }) => status?.containerStatuses ?? [])
      .every(({ state }) => (state?.running?.startedAt?.getTime() ?? Infinity) >= wholeSeconds);
  }

  /** References of the images that the cluster's pods name. */
  async imagesInUse(): Promise<readonly string[]> {
    const { items } = await this.core.listPodForAllNamespaces();
    return items
      .flatMap(({ spec }) => (spec?.containers ?? []).concat(spec?.initContainers ?? []))
      .flatMap(({ image }) => image ?? []);
  }

  /** Whether there are pods with this label, all of them ready. */
  async podsAreReady(namespace: string, labelSelector: string): Promise<boolean> {
    const { items } = await this.core.listNamespacedPod({ namespace, labelSelector });
    return items.length > 0 && items.every(isReady);
  }

  /** Whether a Deployment runs what it was last asked to, and all of it is available. */
  async deploymentIsReady(namespace: string, name: string): Promise<boolean> {
    const { metadata, spec, status } = await this.apps.readNamespacedDeployment({ name, namespace });
    return (
      (status?.observedGeneration ?? 0) >= (metadata?.generation ?? 0) &&
      (status?.updatedReplicas ?? 0) === (spec?.replicas ?? 1) &&
      (status?.availableReplicas ?? 0) === (spec?.replicas ?? 1)
    );
  }
}

/** Whether a pod's own condition says so. */
export function isReady({ status }: V1Pod): boolean {
  return (status?.conditions ?? []).some(({ type, status }) => type === "Ready" && status === "True");
}

/** The promise's value, or undefined when the server answers 404. */
async function orUndefinedWhenMissing<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ApiException && error.code === 404) return undefined;
    throw error;
  }
}

/** Asks again and again until the answer is yes. Throws after `seconds`, saying what was waited for. */
export async function until(
  what: string,
  seconds: number,
  signal: AbortSignal,
  question: () => Promise<boolean>,
): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  let fault = "";
  for (;;) {
    signal.throwIfAborted();
    try {
      if (await question()) return;
      fault = "";
    } catch (error) {
      // The server may be starting: an error is a "not yet" until time is up.
      fault = ` (${error instanceof Error ? error.message : String(error)})`;
    }
    if (Date.now() > deadline) throw new Error(`${what}: not within ${String(seconds)} s${fault}`);
    await sleep(250);
  }
}
