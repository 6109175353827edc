import * as kubernetes from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { clients, metricsPort, servers } from "../../config/names.ts";
import type { NetworkSettings } from "./network-paths.ts";

type PolicySpec = kubernetes.types.input.networking.v1.NetworkPolicySpec;
type Peer = kubernetes.types.input.networking.v1.NetworkPolicyPeer;

/** Pods that may talk to MinIO, by the user's document: "Allow only geocrop-api and geocrop-worker pods". */
const storageClients = [servers.api.name, clients.worker.name];

export interface NetworkPoliciesArgs extends NetworkSettings {
  readonly namespace: pulumi.Input<string>;
}

/** Everything in the namespace is closed, both ways, but for what is listed in `networkPolicySpecs`. */
export class NetworkPolicies extends pulumi.ComponentResource {
  constructor(name: string, args: NetworkPoliciesArgs, opts?: pulumi.ComponentResourceOptions) {
    super("geocrop:storage:NetworkPolicies", name, {}, opts);
    for (const [policy, spec] of Object.entries(networkPolicySpecs(args))) {
      new kubernetes.networking.v1.NetworkPolicy(
        `${name}-${policy}`,
        { metadata: { name: policy, namespace: args.namespace }, spec },
        { parent: this },
      );
    }
    this.registerOutputs({});
  }
}

const pods = (...apps: string[]): Peer => ({
  podSelector: { matchExpressions: [{ key: "app", operator: "In", values: apps }] },
});
const tcp = (port: number) => [{ protocol: "TCP", port }];
const namespace = (name: string): Peer => ({
  namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": name } },
});
const clusterDns: Peer = {
  ...namespace("kube-system"),
  podSelector: { matchLabels: { "k8s-app": "kube-dns" } },
};

/** The policies by name; what they must mean is in network-paths.ts. A peer without a namespace selector is a pod of this namespace only. */
export function networkPolicySpecs(args: NetworkSettings): Record<string, PolicySpec> {
  const minio = pods(servers.minio.name);
  const peers = args.minioReplicas > 1 ? [servers.minio.name] : [];
  return {
    "default-deny": { podSelector: {}, policyTypes: ["Ingress", "Egress"] },
    "allow-dns": {
      podSelector: {},
      policyTypes: ["Egress"],
      egress: [{ to: [clusterDns], ports: [...tcp(53), { protocol: "UDP", port: 53 }] }],
    },
    minio: {
      podSelector: { matchLabels: { app: servers.minio.name } },
      policyTypes: ["Ingress", "Egress"],
      ingress: [
        { from: [pods(...storageClients, servers.downloads.name, ...peers)], ports: tcp(servers.minio.port) },
      ],
      egress: [
        { to: [pods(servers.auditReceiver.name)], ports: tcp(servers.auditReceiver.port) },
        ...(peers.length > 0 ? [{ to: [minio], ports: tcp(servers.minio.port) }] : []),
      ],
    },
    "storage-clients": {
      podSelector: { matchExpressions: [{ key: "app", operator: "In", values: storageClients }] },
      policyTypes: ["Egress"],
      egress: [{ to: [minio], ports: tcp(servers.minio.port) }],
    },
    "signed-url-api": {
      podSelector: {
        matchLabels: { app: servers.api.name, "app.kubernetes.io/component": servers.api.component },
      },
      policyTypes: ["Ingress", "Egress"],
      ingress: [
        { ports: tcp(servers.api.port) },
        ...(args.monitoring === undefined
          ? []
          : [{ from: [namespace(args.monitoring)], ports: tcp(metricsPort) }]),
      ],
      ...(args.fetchesTokenKeys ? { egress: [{ ports: tcp(443) }] } : {}),
    },
    "download-gateway": {
      podSelector: { matchLabels: { app: servers.downloads.name } },
      policyTypes: ["Ingress", "Egress"],
      ingress: [{ ports: tcp(servers.downloads.port) }],
      egress: [{ to: [minio], ports: tcp(servers.minio.port) }],
    },
    "audit-receiver": {
      podSelector: { matchLabels: { app: servers.auditReceiver.name } },
      policyTypes: ["Ingress", "Egress"],
      ingress: [{ from: [minio], ports: tcp(servers.auditReceiver.port) }],
      ...(args.forwardPort === undefined ? {} : { egress: [{ ports: tcp(args.forwardPort) }] }),
    },
  };
}
