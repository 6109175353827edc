import { randomBytes } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";

import { NetworkingV1Api } from "@kubernetes/client-node";

import {
  isOpen,
  networkSettings,
  parties,
  type PartyName,
  type Port,
} from "../../../components/network/network-paths.ts";
import type { Check } from "../check.ts";
import { endProbe, type Probe, probeLabel, reach, startProbe } from "../probe-pod.ts";
import type { Target } from "../target.ts";

/** Milliseconds for the network to have heard of new pods and policies. */
const patience = 20_000;

/** A place to try: the stack's server by its Service, or by its pod's address; an outside one by the API server's. */
interface Place {
  readonly to: PartyName;
  readonly title: string;
  readonly host: string;
  readonly port: Port;
}

interface Flow {
  readonly from: PartyName;
  readonly place: Place;
  readonly expected: boolean;
  readonly connected: boolean;
}

interface NetworkView {
  /** Whether a deny-all policy, in a namespace of its own, was seen to block what went through before. */
  readonly enforced: boolean;
  readonly flows: readonly Flow[];
  /** What a pod with the node's network gets of MinIO. */
  readonly fromNode: string;
}

const views = new WeakMap<Target, Promise<NetworkView>>();

/** The checks look at one run of the probes. */
function networkView(target: Target): Promise<NetworkView> {
  const view = views.get(target) ?? probeNetwork(target);
  views.set(target, view);
  return view;
}

async function probeNetwork(target: Target): Promise<NetworkView> {
  const elsewhere = `geocrop-verify-${randomBytes(3).toString("hex")}`;
  await target.core.createNamespace({
    body: { metadata: { name: elsewhere, labels: { [probeLabel]: "namespace" } } },
  });
  target.onClose(async () => void (await target.core.deleteNamespace({ name: elsewhere })));

  const probe = async (
    namespace: string,
    labels: Readonly<Record<string, string>>,
    more = {},
  ): Promise<Probe> => {
    const started = await startProbe(target, { namespace, labels, ...more });
    if (namespace === target.namespace) target.onClose(() => endProbe(target, started));
    return started;
  };
  const [places, worker, submitter, stranger, spoofer, server] = await Promise.all([
    placesOf(target),
    probe(target.namespace, parties.worker.labels),
    probe(target.namespace, parties.submitter.labels),
    probe(target.namespace, parties.stranger.labels, { ports: [9000] }),
    probe(elsewhere, parties.spoofer.labels),
    probe(elsewhere, {}, { ports: [9000] }),
  ]);
  const [api, audit] = await Promise.all([target.podOf("geocrop-api"), target.podOf("audit-receiver")]);
  const inStack = { namespace: target.namespace };
  const sources = [
    ["api", { ...inStack, name: api.name, container: "signed-url-api" }],
    ["audit", { ...inStack, name: audit.name, container: "audit-receiver" }],
    ["worker", worker],
    ["submitter", submitter],
    ["stranger", stranger],
    ["spoofer", spoofer],
  ] as const;
  const all: Place[] = [...places, { to: "stranger", title: "a stranger", host: stranger.ip, port: 9000 }];
  const [enforced, fromNode, ...flows] = await Promise.all([
    denyAllBlocks(target, spoofer, server),
    reachFromNode(target, elsewhere, places),
    ...sources.map(([from, pod]) => flowsFrom(target, from, pod, all)),
  ]);
  return { enforced, fromNode, flows: flows.flat() };
}

function at(to: PartyName, title: string, host: string | undefined, port: Port): Place {
  if (host === undefined) throw new Error(`${title} has no address`);
  return { to, title, host, port };
}

async function placesOf(target: Target): Promise<Place[]> {
  const [minio, audit, api, gateway] = await Promise.all([
    target.podOf("minio"),
    target.podOf("audit-receiver"),
    target.podOf("geocrop-api"),
    target.podOf("geocrop-downloads"),
  ]);
  return [
    at("minio", "MinIO's Service", target.hostOf("minio"), 9000),
    at("minio", "MinIO's pod", minio.ip, 9000),
    at("audit", "the audit receiver", audit.ip, 8443),
    at("api", "the API", api.ip, 8443),
    at("gateway", "the download gateway", gateway.ip, 8443),
    at("dns", "cluster DNS", "kube-dns.kube-system.svc.cluster.local", 53),
    at("outside", "the Kubernetes API", "kubernetes.default.svc.cluster.local", 443),
  ];
}

/** Tries until all is as it must be, since the network hears of new pods late, or until patience ends. */
async function flowsFrom(
  target: Target,
  from: PartyName,
  pod: { readonly namespace: string; readonly name: string; readonly container?: string },
  places: readonly Place[],
): Promise<Flow[]> {
  const settings = networkSettings(target.settings);
  const mattering = places.filter(
    ({ to }) => to !== from && (parties[from].place === "stack" || parties[to].place === "stack"),
  );
  const deadline = Date.now() + patience;
  for (;;) {
    const results = await reach(target, pod, mattering);
    const flows = mattering.map((place, index) => ({
      from,
      place,
      expected: isOpen(settings, from, place.to, place.port),
      connected: results[index] === "connected",
    }));
    if (flows.every(({ expected, connected }) => expected === connected) || Date.now() > deadline)
      return flows;
    await pause(1000);
  }
}

/** The one thing that tells a network that enforces policies from one that stores them. */
async function denyAllBlocks(target: Target, client: Probe, server: Probe): Promise<boolean> {
  const place = [{ host: server.ip, port: 9000 }];
  const until = async (wanted: boolean): Promise<boolean> => {
    const deadline = Date.now() + patience;
    do {
      const [result] = await reach(target, client, place);
      if ((result === "connected") === wanted) return true;
      await pause(500);
    } while (Date.now() < deadline);
    return false;
  };
  if (!(await until(true))) throw new Error("two pods in a namespace without policies cannot connect");
  await target.cluster.makeApiClient(NetworkingV1Api).createNamespacedNetworkPolicy({
    namespace: server.namespace,
    body: {
      metadata: { name: "deny-all" },
      spec: { podSelector: { matchLabels: { [probeLabel]: "probe" } }, policyTypes: ["Ingress"] },
    },
  });
  return until(false);
}

async function reachFromNode(target: Target, namespace: string, places: readonly Place[]): Promise<string> {
  const minio = places.find(({ title }) => title === "MinIO's pod");
  if (minio === undefined) return "not tried";
  try {
    const node = await startProbe(target, { namespace, labels: {}, hostNetwork: true });
    const [result] = await reach(target, node, [minio]);
    return result === "connected" ? "connects: this network lets nodes in, as most do" : "is blocked";
  } catch {
    return "could not be tried: the cluster takes no pod with the node's network";
  }
}

const told = ({ from, place: { title, port }, expected }: Flow): string =>
  expected
    ? `${parties[from].title} cannot connect to ${title} on ${port}, and must`
    : `${parties[from].title} can connect to ${title} on ${port}, and must not`;

const notEnforced =
  "This cluster does not enforce NetworkPolicies: it stores them and lets everything through, so every pod in it can connect to MinIO.";

export const networkChecks: readonly Check[] = [
  {
    id: "network.enforced",
    proves:
      '"Kubernetes NetworkPolicies should be configured to restrict which pods can communicate with MinIO": the cluster must also keep to them',
    how: "in a namespace of its own, lets one pod connect to another, then denies it all, and sees whether it is blocked",
    remedy:
      "install a CNI plugin that enforces NetworkPolicies (Calico, Cilium, Antrea, kube-router, or your provider's option for it)",
    async run(target) {
      const { enforced, fromNode } = await networkView(target);
      return {
        seen: `a deny-all was seen to block; a pod with the node's own network ${fromNode}`,
        faults: enforced ? [] : [notEnforced],
      };
    },
  },
  {
    id: "network.stack",
    proves:
      '"Allow only geocrop-api and geocrop-worker pods to access MinIO. Deny all other pods by default"',
    how: "connects, from the API's, the audit receiver's, a worker's, a job submitter's and a stranger's pod, to everything that listens",
    remedy: "run pulumi up; a policy that nobody declared can only open more: kubectl get networkpolicies",
    async run(target) {
      const { enforced, flows } = await networkView(target);
      const ours = flows.filter(({ from }) => parties[from].place === "stack");
      const faults = ours.filter(({ expected, connected }) => expected !== connected).map(told);
      if (faults.length > 0 && !enforced) faults.unshift(notEnforced);
      return { seen: `${ours.length} ways as the table in docs/network.md says`, faults };
    },
  },
  {
    id: "network.spoofer",
    proves: "a pod with the API's labels in another namespace reaches the two doors, and nothing else",
    how: "connects from such a pod to everything that listens",
    remedy: "see network.stack",
    async run(target) {
      const { enforced, flows } = await networkView(target);
      const theirs = flows.filter(({ from }) => parties[from].place !== "stack");
      const faults = theirs.filter(({ expected, connected }) => expected !== connected).map(told);
      if (faults.length > 0 && !enforced) faults.unshift(notEnforced);
      return { seen: `${theirs.length} ways as the table in docs/network.md says`, faults };
    },
  },
];
