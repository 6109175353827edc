import { BlockList } from "node:net";
import type { Namespace, Pod } from "./cluster-objects.ts";
import type { NetworkPolicy, PolicyPort, PolicyRule, Protocol } from "./network-policy.ts";
import { selectorMatches } from "./selectors.ts";

/** What the cluster's API says, and all that a decision depends on. */
export interface ClusterView {
  readonly pods: readonly Pod[];
  readonly namespaces: readonly Namespace[];
  readonly policies: readonly NetworkPolicy[];
}

export interface Block {
  readonly cidr: string;
  readonly except: readonly string[];
}

/** An inclusive range of ports of one protocol. */
export interface PortRange {
  readonly protocol: Protocol;
  readonly first: number;
  readonly last: number;
}

/** Traffic with any of these peers on any of these ports is allowed. */
export interface Permit {
  readonly peers: readonly Block[] | "any";
  readonly ports: readonly PortRange[] | "any";
}

/** What one pod may take in and send out, beside what it sends to itself. "all": no policy isolates it that way. */
export interface Decision {
  readonly pod: Pod;
  readonly ingress: readonly Permit[] | "all";
  readonly egress: readonly Permit[] | "all";
}

/** One attempt to connect, by the addresses that the node's forwarding sees (after a Service was resolved). */
export interface Flow {
  readonly from: string;
  readonly to: string;
  readonly protocol: Protocol;
  readonly port: number;
}

type Direction = "ingress" | "egress";

const allPorts = { first: 0, last: 65535 };

/**
 * The decision for every known pod, sorted by address. Left out, and so cut off by the ruleset, are pods whose
 * namespace is not known yet (its labels could match or miss a selector) and pods that share an address.
 */
export function decisionsFor(view: ClusterView): Decision[] {
  const pods = knownPods(view);
  return pods.map((pod) => {
    const policies = view.policies.filter(
      (policy) => policy.namespace === pod.namespace && selectorMatches(policy.podSelector, pod.labels),
    );
    if (policies.some((policy) => policy.fault !== undefined)) return { pod, ingress: [], egress: [] };
    const decide = (direction: Direction): Permit[] | "all" => {
      const isolating = policies.filter((policy) => policy[direction] !== undefined);
      if (isolating.length === 0) return "all";
      return isolating.flatMap((policy) =>
        (policy[direction] ?? []).flatMap((rule) => {
          const peers = peersOf(rule, policy.namespace, pods, view.namespaces);
          return direction === "ingress"
            ? ingressPermits(rule, peers, pod)
            : egressPermits(rule, peers, pods);
        }),
      );
    };
    return { pod, ingress: decide("ingress"), egress: decide("egress") };
  });
}

/** Whether the decisions let a connection through. An address without a decision is taken to be off the pod network. */
export function flowAllowed(decisions: readonly Decision[], flow: Flow): boolean {
  if (flow.from === flow.to) return true;
  const at = (address: string) => decisions.find(({ pod }) => pod.address === address);
  return (
    permitted(at(flow.from)?.egress ?? "all", flow.to, flow) &&
    permitted(at(flow.to)?.ingress ?? "all", flow.from, flow)
  );
}

function permitted(permits: readonly Permit[] | "all", peer: string, { protocol, port }: Flow): boolean {
  if (permits === "all") return true;
  return permits.some(
    ({ peers, ports }) =>
      (peers === "any" || contains(peers, peer)) &&
      (ports === "any" ||
        ports.some((range) => range.protocol === protocol && range.first <= port && port <= range.last)),
  );
}

function knownPods({ pods, namespaces }: ClusterView): Pod[] {
  const names = new Set(namespaces.map(({ name }) => name));
  const claims = Map.groupBy(pods, ({ address }) => address);
  return pods
    .filter(({ namespace, address }) => names.has(namespace) && claims.get(address)?.length === 1)
    .toSorted((a, b) => (a.address < b.address ? -1 : 1));
}

function peersOf(
  rule: PolicyRule,
  policyNamespace: string,
  pods: readonly Pod[],
  namespaces: readonly Namespace[],
): Block[] | "any" {
  if (rule.peers.length === 0) return "any";
  return rule.peers.flatMap(({ ipBlock, podSelector, namespaceSelector }) => {
    if (ipBlock) return [ipBlock];
    const allowed = new Set(
      namespaces
        .filter(({ name, labels }) =>
          namespaceSelector ? selectorMatches(namespaceSelector, labels) : name === policyNamespace,
        )
        .map(({ name }) => name),
    );
    return pods
      .filter(
        ({ namespace, labels }) =>
          allowed.has(namespace) && (podSelector === undefined || selectorMatches(podSelector, labels)),
      )
      .map(hostBlock);
  });
}

function ingressPermits(rule: PolicyRule, peers: Permit["peers"], pod: Pod): Permit[] {
  if (rule.ports.length === 0) return [{ peers, ports: "any" }];
  return [{ peers, ports: rule.ports.flatMap((port) => rangesAt(port, pod)) }];
}

/** A named port means what the destination calls so: each pod among the peers gets a permit of its own. */
function egressPermits(rule: PolicyRule, peers: Permit["peers"], pods: readonly Pod[]): Permit[] {
  if (rule.ports.length === 0) return [{ peers, ports: "any" }];
  const named = rule.ports.filter(({ port }) => typeof port === "string");
  const numeric = rule.ports.filter(({ port }) => typeof port !== "string");
  const destinations = pods.filter(({ address }) => peers === "any" || contains(peers, address));
  return [
    { peers, ports: numeric.flatMap((port) => numericRange(port)) },
    ...destinations.map((pod) => ({
      peers: [hostBlock(pod)],
      ports: named.flatMap((port) => rangesAt(port, pod)),
    })),
  ].filter(({ ports }) => ports.length > 0);
}

function rangesAt(port: PolicyPort, pod: Pod): PortRange[] {
  return pod.ports
    .filter(({ name, protocol }) => name === port.port && protocol === port.protocol)
    .map(({ protocol, port }) => ({ protocol, first: port, last: port }))
    .concat(numericRange(port));
}

function numericRange({ protocol, port, endPort }: PolicyPort): PortRange[] {
  if (typeof port === "string") return [];
  return [port === undefined ? { protocol, ...allPorts } : { protocol, first: port, last: endPort ?? port }];
}

function hostBlock({ address }: Pod): Block {
  return { cidr: `${address}/32`, except: [] };
}

function contains(blocks: readonly Block[], address: string): boolean {
  return blocks.some(({ cidr, except }) => inCidr(cidr, address) && !except.some((c) => inCidr(c, address)));
}

function inCidr(cidr: string, address: string): boolean {
  const [network = "", length = ""] = cidr.split("/");
  const list = new BlockList();
  list.addSubnet(network, Number(length), "ipv4");
  return list.check(address, "ipv4");
}
