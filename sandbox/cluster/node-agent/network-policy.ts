import { isIPv4 } from "node:net";
import { z } from "zod";
import { type LabelSelector, labelSelectorSchema } from "./selectors.ts";

export const protocolSchema = z.enum(["TCP", "UDP", "SCTP"]);
export type Protocol = z.infer<typeof protocolSchema>;

const cidrSchema = z.string().refine(isIPv4Cidr, "not an IPv4 CIDR (IPv6 is not supported here)");

const portSchema = z
  .strictObject({
    protocol: protocolSchema.default("TCP"),
    port: z.union([z.int().min(1).max(65535), z.string().min(1)]).optional(),
    endPort: z.int().min(1).max(65535).optional(),
  })
  .refine(
    ({ port, endPort }) => endPort === undefined || (typeof port === "number" && port <= endPort),
    "endPort needs a numeric port that is not above it",
  );

const peerSchema = z
  .strictObject({
    podSelector: labelSelectorSchema.optional(),
    namespaceSelector: labelSelectorSchema.optional(),
    ipBlock: z.strictObject({ cidr: cidrSchema, except: z.array(cidrSchema).default([]) }).optional(),
  })
  .refine(
    ({ podSelector, namespaceSelector, ipBlock }) =>
      (ipBlock === undefined) !== (podSelector === undefined && namespaceSelector === undefined),
    "a peer is either an ipBlock or selectors",
  );

const portsSchema = z.array(portSchema).default([]);
const peersSchema = z.array(peerSchema).default([]);

const specSchema = z.strictObject({
  podSelector: labelSelectorSchema.prefault({}),
  policyTypes: z.array(z.enum(["Ingress", "Egress"])).default([]),
  ingress: z.array(z.strictObject({ from: peersSchema, ports: portsSchema })).default([]),
  egress: z.array(z.strictObject({ to: peersSchema, ports: portsSchema })).default([]),
});

const nameSchema = z.looseObject({ metadata: z.looseObject({ name: z.string(), namespace: z.string() }) });
const policySchema = z.strictObject({
  apiVersion: z.string().optional(),
  kind: z.string().optional(),
  metadata: z.unknown(),
  spec: specSchema,
});
const podSelectorOnly = z.looseObject({ spec: z.looseObject({ podSelector: labelSelectorSchema }) });

export type PolicyPeer = z.infer<typeof peerSchema>;
export type PolicyPort = z.infer<typeof portSchema>;

/** One rule of either direction. Empty `peers` or `ports` mean all of them. */
export interface PolicyRule {
  readonly peers: readonly PolicyPeer[];
  readonly ports: readonly PolicyPort[];
}

/** A policy after defaulting. A direction it does not isolate is undefined; an empty list permits nothing. */
export interface NetworkPolicy {
  readonly namespace: string;
  readonly name: string;
  readonly podSelector: LabelSelector;
  readonly ingress: readonly PolicyRule[] | undefined;
  readonly egress: readonly PolicyRule[] | undefined;
  /** Why the policy could not be understood. Its pods are then cut off in both directions. */
  readonly fault?: string;
}

/**
 * Reads a networking.k8s.io/v1 NetworkPolicy as the API server sends it. What it does not understand becomes a
 * `fault`, never a shorter policy: a field dropped unread could be the one that narrows a permission.
 *
 * @throws if the object has no name or namespace.
 */
export function readNetworkPolicy(raw: unknown): NetworkPolicy {
  const { name, namespace } = nameSchema.parse(raw).metadata;
  const parsed = policySchema.safeParse(raw);
  if (!parsed.success) {
    const selector = podSelectorOnly.safeParse(raw);
    return {
      namespace,
      name,
      // If even the selector can't be read, the policy may mean any pod of its namespace.
      podSelector: selector.success ? selector.data.spec.podSelector : labelSelectorSchema.parse({}),
      ingress: [],
      egress: [],
      fault: parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; "),
    };
  }
  const { podSelector, policyTypes, ingress, egress } = parsed.data.spec;
  // The API server's defaulting: Ingress always, Egress if there are egress rules.
  const types =
    policyTypes.length > 0 ? policyTypes : egress.length > 0 ? ["Ingress", "Egress"] : ["Ingress"];
  return {
    namespace,
    name,
    podSelector,
    ingress: types.includes("Ingress")
      ? ingress.map(({ from, ports }) => ({ peers: from, ports }))
      : undefined,
    egress: types.includes("Egress") ? egress.map(({ to, ports }) => ({ peers: to, ports })) : undefined,
  };
}

function isIPv4Cidr(text: string): boolean {
  const [address = "", length = "", ...rest] = text.split("/");
  return rest.length === 0 && isIPv4(address) && /^(\d|[12]\d|3[0-2])$/.test(length);
}
