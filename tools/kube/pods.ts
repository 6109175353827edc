import { setTimeout as sleep } from "node:timers/promises";

import type { CoreV1Api, V1Pod } from "@kubernetes/client-node";

/** Whether a pod's own condition says that it is ready. */
export function isReady({ status }: V1Pod): boolean {
  return status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true;
}

/** Whether a pod's first container runs, ready or not, at an address. */
export function isRunning({ status }: V1Pod): boolean {
  return status?.podIP !== undefined && status.containerStatuses?.[0]?.state?.running !== undefined;
}

/** Why a pod that waits will not start by waiting: its image, its configuration, or that it ended already. */
function whyNeverStarted({ status }: V1Pod): string | undefined {
  const state = status?.containerStatuses?.[0]?.state;
  const { reason = "", message } = state?.waiting ?? state?.terminated ?? {};
  return reason === "" || reason === "ContainerCreating" || reason === "PodInitializing"
    ? undefined
    : (message ?? reason);
}

/**
 * Waits for a pod.
 *
 * @param isDone what is waited for.
 * @param timeoutMs milliseconds, its image's pull included.
 * @throws Error when it does not get there in time, or cannot start.
 */
export async function waitForPod(
  core: CoreV1Api,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  isDone: (pod: V1Pod) => boolean,
  timeoutMs: number,
): Promise<V1Pod> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const pod = await core.readNamespacedPod({ namespace, name });
    if (isDone(pod)) return pod;
    const reason = whyNeverStarted(pod);
    if (reason !== undefined) throw new Error(`pod ${namespace}/${name} does not start: ${reason}`);
    if (Date.now() > deadline)
      throw new Error(
        `pod ${namespace}/${name} is ${pod.status?.phase ?? "unknown"} after ${timeoutMs / 1000} s`,
      );
    await sleep(250);
  }
}
