import { clients, metricsPort, podLabels, servers } from "../../config/names.ts";
import type { Settings } from "../../config/schema.ts";

/** Who is on the network, as the stack's policies see it. */
export interface Party {
  /** As the documentation names it. */
  readonly title: string;
  /** `stack`: a pod in the stack's namespace. `cluster`: a pod elsewhere. `outside`: no pod at all. */
  readonly place: "stack" | "cluster" | "outside";
  readonly labels: Readonly<Record<string, string>>;
}

const party = (place: Party["place"], title: string, labels: Record<string, string> = {}): Party => ({
  place,
  title,
  labels,
});

/** The spoofer carries the labels that open the most, in a namespace where they must open nothing. */
export const parties = {
  api: party("stack", "signed-URL API", podLabels(servers.api)),
  worker: party("stack", "worker", podLabels(clients.worker)),
  submitter: party("stack", "job submitter", podLabels(clients.jobSubmitter)),
  gateway: party("stack", "download gateway", podLabels(servers.downloads)),
  minio: party("stack", "MinIO", podLabels(servers.minio)),
  peer: party("stack", "another MinIO pod", podLabels(servers.minio)),
  audit: party("stack", "audit receiver", podLabels(servers.auditReceiver)),
  stranger: party("stack", "stranger in the namespace", { app: "stranger" }),
  spoofer: party("cluster", "pod elsewhere with the API's labels", podLabels(servers.api)),
  dns: party("cluster", "cluster DNS", { "k8s-app": "kube-dns" }),
  monitor: party("cluster", "pod in the namespace of `monitoring.namespace`"),
  outside: party("outside", "outside the cluster"),
} satisfies Record<string, Party>;

export type PartyName = keyof typeof parties;

export const partyNames = Object.keys(parties).filter((name): name is PartyName => name in parties);

/** Every port that anything in the stack, or that the stack calls, listens on. */
export const ports = [53, 443, servers.api.port, servers.minio.port, metricsPort] as const;
export type Port = (typeof ports)[number];

/** What of the settings changes who reaches whom. */
export interface NetworkSettings {
  /** MinIO pods talk to one another where there are several. */
  readonly minioReplicas: number;
  /** Whether the API fetches its token issuer's keys from outside. */
  readonly fetchesTokenKeys: boolean;
  /** The namespace whose pods may read the API's metrics. @default none */
  readonly monitoring?: string | undefined;
  /** The port of the search index that the audit receiver sends summaries to. @default none */
  readonly forwardPort?: number | undefined;
}

/** What a stack's settings say of the network. */
export function networkSettings({ minio, api, audit, monitoring }: Settings): NetworkSettings {
  const index = audit.forward === undefined ? undefined : new URL(audit.forward.url);
  return {
    minioReplicas: minio.replicas,
    fetchesTokenKeys: api.auth.mode === "jwks-url",
    monitoring: monitoring?.namespace,
    forwardPort: index === undefined ? undefined : Number(index.port || "443"),
  };
}

/** Connections that the policies allow. What is not listed is denied. */
export interface AllowedFlow {
  readonly from: readonly PartyName[];
  readonly to: readonly PartyName[];
  /** TCP; 53 by UDP as well. */
  readonly port: Port;
  readonly why: string;
  /** @default always */
  readonly when?: {
    readonly title: string;
    readonly holds: (settings: NetworkSettings) => boolean;
  };
}

const pods = partyNames.filter((name) => parties[name].place === "stack");
const external = partyNames.filter((name) => parties[name].place !== "stack");

/**
 * The network's truth table: the documentation's page, the policies' tests and `npm run verify` come from it.
 * Connections between parties outside the namespace are not the stack's to decide.
 */
export const allowedFlows: readonly AllowedFlow[] = [
  { from: pods, to: ["dns"], port: 53, why: "host names" },
  {
    from: ["api", "worker", "submitter"],
    to: ["minio", "peer"],
    port: servers.minio.port,
    why: "the user's document: only geocrop-api and geocrop-worker pods access MinIO",
  },
  {
    from: ["gateway"],
    to: ["minio", "peer"],
    port: servers.minio.port,
    why: "signed downloads from outside, and nothing else (docs/decisions/0005)",
  },
  { from: ["minio", "peer"], to: ["audit"], port: servers.auditReceiver.port, why: "the audit log" },
  {
    from: external,
    to: ["api", "gateway"],
    port: servers.api.port,
    why: "the two public endpoints: one checks tokens, the other lets signed requests pass to MinIO, which checks signatures",
  },
  {
    from: ["minio", "peer"],
    to: ["minio", "peer"],
    port: servers.minio.port,
    why: "erasure coding",
    when: { title: "`minio.replicas` above 1", holds: ({ minioReplicas }) => minioReplicas > 1 },
  },
  {
    from: ["api"],
    to: external,
    port: 443,
    why: "the token issuer's keys; its addresses may change",
    when: { title: "`api.auth.mode` jwks-url", holds: ({ fetchesTokenKeys }) => fetchesTokenKeys },
  },
  {
    from: ["monitor"],
    to: ["api"],
    port: metricsPort,
    why: "the API's metrics, for Prometheus",
    when: { title: "`monitoring.namespace`", holds: ({ monitoring }) => monitoring !== undefined },
  },
  {
    from: ["audit"],
    to: external,
    port: 443,
    why: "the search index that summaries of the audit log are sent to, wherever it is, on the port of its URL",
    when: { title: "`audit.forward` on port 443", holds: ({ forwardPort }) => forwardPort === 443 },
  },
];

/** Whether the stack's policies allow one party to connect to another. */
export function isOpen(settings: NetworkSettings, from: PartyName, to: PartyName, port: Port): boolean {
  return allowedFlows.some(
    (path) =>
      path.port === port &&
      path.from.includes(from) &&
      path.to.includes(to) &&
      (path.when?.holds(settings) ?? true),
  );
}

/** Every connection that the stack's policies decide on; what a pod sends to itself is not filtered. */
export function everyFlow(): readonly (readonly [from: PartyName, to: PartyName, port: Port])[] {
  return partyNames.flatMap((from) =>
    partyNames
      .filter((to) => from !== to && (parties[from].place === "stack" || parties[to].place === "stack"))
      .flatMap((to) => ports.map((port) => [from, to, port] as const)),
  );
}
