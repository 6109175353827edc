import { describe, expect, test } from "vitest";

import { KubernetesObjects } from "../../../../../sandbox/engine/embedded/kubernetes.ts";
import { podTrouble, unreadyReason } from "../../../../../sandbox/engine/embedded/readiness.ts";

function workload(kind: string, status: object, replicas = 2) {
  return { apiVersion: "apps/v1", kind, metadata: { name: "w", generation: 3 }, spec: { replicas }, status };
}

describe("a workload is ready", () => {
  test.each<[string, string, object, string | undefined]>([
    [
      "Deployment",
      "once all is",
      { observedGeneration: 3, replicas: 2, updatedReplicas: 2, availableReplicas: 2 },
      undefined,
    ],
    [
      "Deployment",
      "not before the controller saw it",
      { observedGeneration: 2, replicas: 2, updatedReplicas: 2, availableReplicas: 2 },
      "the controller has not seen it yet",
    ],
    [
      "Deployment",
      "not before the new pods are there",
      { observedGeneration: 3, replicas: 2, updatedReplicas: 1, availableReplicas: 2 },
      "1 of 2 pods are up to date",
    ],
    [
      "Deployment",
      "not before the old pods are gone",
      { observedGeneration: 3, replicas: 3, updatedReplicas: 2, availableReplicas: 2 },
      "old pods are still going",
    ],
    ["Deployment", "not without any status", {}, "the controller has not seen it yet"],
    [
      "StatefulSet",
      "once all is",
      { observedGeneration: 3, updatedReplicas: 2, readyReplicas: 2 },
      undefined,
    ],
    [
      "StatefulSet",
      "when there was nothing to update",
      { observedGeneration: 3, currentRevision: "a", updateRevision: "a", readyReplicas: 2 },
      undefined,
    ],
    [
      "StatefulSet",
      "not while pods of the old revision run",
      {
        observedGeneration: 3,
        currentRevision: "a",
        updateRevision: "b",
        updatedReplicas: 1,
        readyReplicas: 2,
      },
      "1 of 2 pods are up to date",
    ],
    [
      "StatefulSet",
      "not with a pod missing",
      { observedGeneration: 3, updatedReplicas: 2, readyReplicas: 1 },
      "1 of 2 pods are ready",
    ],
  ])("%s: %s", (kind, _when, status, reason) => {
    expect(unreadyReason(workload(kind, status))).toBe(reason);
  });

  test("a namespace when active; what runs nothing, at once", () => {
    const namespace = { apiVersion: "v1", kind: "Namespace", metadata: {} };
    expect(unreadyReason(namespace)).toBe("it is not active yet");
    expect(unreadyReason({ ...namespace, status: { phase: "Active" } })).toBeUndefined();
    expect(
      unreadyReason({ apiVersion: "v1", kind: "PersistentVolumeClaim", status: { phase: "Pending" } }),
    ).toBeUndefined();
  });
});

const pod = (status: object) => podTrouble({ metadata: { name: "p" }, status });
const container = (rest: object) => ({ name: "c", ready: false, ...rest });

describe("what keeps a pod from being ready is told in the cluster's own words", () => {
  test.each<[string, object, string | undefined]>([
    ["ready", { conditions: [{ type: "Ready", status: "True" }] }, undefined],
    [
      "no place",
      {
        conditions: [
          { type: "PodScheduled", status: "False", reason: "Unschedulable", message: "0/1 nodes" },
        ],
      },
      "pod p can't be placed: Unschedulable: 0/1 nodes",
    ],
    [
      "no image",
      {
        containerStatuses: [
          container({ state: { waiting: { reason: "ErrImageNeverPull", message: "not present" } } }),
        ],
      },
      "pod p, container c: ErrImageNeverPull: not present",
    ],
    [
      "a crash",
      {
        containerStatuses: [
          container({
            state: { waiting: { reason: "CrashLoopBackOff" } },
            lastState: { terminated: { exitCode: 1, reason: "Error" } },
          }),
        ],
      },
      "pod p, container c: CrashLoopBackOff; ended with 1 (Error)",
    ],
    ["nothing known", {}, "pod p is not ready (?)"],
  ])("%s", (_what, status, trouble) => {
    expect(pod(status)).toBe(trouble);
  });
});

const locate = (name: string) =>
  new KubernetesObjects().locate({
    type: "kubernetes:core/v1:Secret",
    name,
    inputs: { apiVersion: "v1", kind: "Secret", metadata: { namespace: "ns" } },
    hash: "",
    provider: undefined,
    timeout: undefined,
    recorded: undefined,
  }).id;

describe("an object without a name", () => {
  test("gets one that stays the same, and is its own", () => {
    expect(locate("a")).toMatch(/^ns\/a-[0-9a-f]{8}$/);
    expect(locate("a")).toBe(locate("a"));
    expect(locate("a")).not.toBe(locate("b"));
  });
});
