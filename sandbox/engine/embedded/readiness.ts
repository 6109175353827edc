import { z } from "zod";

import type { Json } from "./values.ts";

const map = z.record(z.string(), z.json());
const metadataSchema = z.looseObject({
  name: z.string().optional(),
  namespace: z.string().optional(),
  annotations: z.record(z.string(), z.string()).default({}),
  resourceVersion: z.string().optional(),
  generation: z.int().default(0),
  deletionTimestamp: z.string().optional(),
});

/** What all objects have in common. */
export const objectSchema = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: metadataSchema.prefault({}),
  spec: map.default({}),
  status: map.default({}),
});

export type Live = z.infer<typeof objectSchema>;

const reasonSchema = z.looseObject({ reason: z.string().optional(), message: z.string().optional() });
const endSchema = reasonSchema.extend({ exitCode: z.int() });
const stateSchema = z
  .looseObject({ waiting: reasonSchema.optional(), terminated: endSchema.optional() })
  .prefault({});
const containersSchema = z
  .array(z.looseObject({ name: z.string(), ready: z.boolean(), state: stateSchema, lastState: stateSchema }))
  .default([]);
const podSchema = z.looseObject({
  metadata: z.looseObject({ name: z.string() }),
  status: z
    .looseObject({
      phase: z.string().default("?"),
      conditions: z.array(reasonSchema.extend({ type: z.string(), status: z.string() })).default([]),
      initContainerStatuses: containersSchema,
      containerStatuses: containersSchema,
    })
    .prefault({}),
});

function number(value: Json | undefined): number {
  return typeof value === "number" ? value : 0;
}

/**
 * Why an object is not ready yet; undefined when it is. The rules for workloads are those of
 * `kubectl rollout status`; anything but workloads and namespaces is ready once it exists.
 */
export function unreadyReason(live: unknown): string | undefined {
  const { kind, metadata, spec, status } = objectSchema.parse(live);
  if (kind === "Namespace") {
    return status["phase"] === "Active" ? undefined : "it is not active yet";
  }
  if (kind === "Pod") return status["phase"] === "Succeeded" ? undefined : podTrouble(live);
  if (kind !== "StatefulSet" && kind !== "Deployment") return undefined;
  const wanted = typeof spec["replicas"] === "number" ? spec["replicas"] : 1;
  const updated = number(status["updatedReplicas"]);
  const ready = number(status[kind === "Deployment" ? "availableReplicas" : "readyReplicas"]);
  if (number(status["observedGeneration"]) < metadata.generation) return "the controller has not seen it yet";
  const isCurrent = kind === "StatefulSet" && status["currentRevision"] === status["updateRevision"];
  if (updated < wanted && !isCurrent) return `${updated} of ${wanted} pods are up to date`;
  if (kind === "Deployment" && number(status["replicas"]) > updated) return "old pods are still going";
  return ready < wanted ? `${ready} of ${wanted} pods are ready` : undefined;
}

/** What keeps a pod from being ready, in the kubelet's or the scheduler's own words. */
export function podTrouble(pod: unknown): string | undefined {
  const { metadata, status } = podSchema.parse(pod);
  const condition = (type: string) => status.conditions.find((one) => one.type === type);
  if (condition("Ready")?.status === "True") return undefined;
  const scheduled = condition("PodScheduled");
  if (scheduled?.status === "False") return `pod ${metadata.name} can't be placed: ${said(scheduled)}`;
  for (const { name, ready, state, lastState } of [
    ...status.initContainerStatuses,
    ...status.containerStatuses,
  ]) {
    const { waiting } = state;
    const ended = state.terminated ?? lastState.terminated;
    const parts = [
      ...(waiting === undefined ? [] : [said(waiting)]),
      ...(ended === undefined || ended.exitCode === 0
        ? []
        : [`ended with ${ended.exitCode} (${said(ended)})`]),
    ];
    if (!ready && parts.length > 0) return `pod ${metadata.name}, container ${name}: ${parts.join("; ")}`;
  }
  return `pod ${metadata.name} is not ready (${status.phase})`;
}

function said({ reason, message }: z.infer<typeof reasonSchema>): string {
  return [reason, message].filter((text) => text !== undefined && text !== "").join(": ");
}
