import { isIPv4 } from "node:net";
import { z } from "zod";
import { type Protocol, protocolSchema } from "./network-policy.ts";
import type { Labels } from "./selectors.ts";

/** A pod on the pod network, as far as network policies look at it. */
export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly address: string;
  readonly labels: Labels;
  readonly ports: readonly { readonly name: string; readonly protocol: Protocol; readonly port: number }[];
}

export interface Namespace {
  readonly name: string;
  readonly labels: Labels;
}

const labelsSchema = z.record(z.string(), z.string()).default({});

const containerSchema = z.looseObject({
  restartPolicy: z.string().optional(),
  ports: z
    .array(
      z.looseObject({
        name: z.string().optional(),
        protocol: protocolSchema.default("TCP"),
        containerPort: z.int(),
      }),
    )
    .default([]),
});

const podSchema = z.looseObject({
  metadata: z.looseObject({ namespace: z.string(), name: z.string(), labels: labelsSchema }),
  spec: z.looseObject({
    hostNetwork: z.boolean().default(false),
    containers: z.array(containerSchema),
    initContainers: z.array(containerSchema).default([]),
  }),
  status: z.looseObject({ phase: z.string().optional(), podIP: z.string().optional() }).default({}),
});

const namespaceSchema = z.looseObject({
  metadata: z.looseObject({ name: z.string(), labels: labelsSchema }),
});

/**
 * Undefined for a pod that has no address of its own: not started, ended (its address may be another's by now), or
 * on the node's network, which policies do not cover.
 */
export function readPod(raw: unknown): Pod | undefined {
  const { metadata, spec, status } = podSchema.parse(raw);
  const ended = status.phase === "Succeeded" || status.phase === "Failed";
  if (spec.hostNetwork || ended || status.podIP === undefined || !isIPv4(status.podIP)) return undefined;
  const sidecars = spec.initContainers.filter((container) => container.restartPolicy === "Always");
  return {
    namespace: metadata.namespace,
    name: metadata.name,
    address: status.podIP,
    labels: metadata.labels,
    ports: [...spec.containers, ...sidecars].flatMap(({ ports }) =>
      ports.flatMap(({ name, protocol, containerPort }) =>
        name === undefined ? [] : [{ name, protocol, port: containerPort }],
      ),
    ),
  };
}

export function readNamespace(raw: unknown): Namespace {
  return namespaceSchema.parse(raw).metadata;
}
