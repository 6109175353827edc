import { readNamespace, readPod } from "../../sandbox/cluster/node-agent/cluster-objects.ts";
import type { ClusterView } from "../../sandbox/cluster/node-agent/decisions.ts";
import { readNetworkPolicy } from "../../sandbox/cluster/node-agent/network-policy.ts";
import type { NetpolStep } from "./netpol-cases.ts";

/** A pod's address follows from its place in the list. */
export function addressOf(pods: readonly string[], pod: string): string {
  return `10.244.0.${10 + pods.indexOf(pod)}`;
}

/** A Pod as the API server would send it, as far as the agent looks. */
export function rawPod(pod: {
  readonly namespace: string;
  readonly name: string;
  readonly address: string;
  readonly labels?: Record<string, string>;
  readonly spec?: object;
  readonly status?: object;
}): object {
  const ports = [80, 81].flatMap((containerPort) =>
    ["TCP", "UDP", "SCTP"].map((protocol) => ({
      name: `serve-${containerPort}-${protocol.toLowerCase()}`,
      protocol,
      containerPort,
    })),
  );
  return {
    metadata: { namespace: pod.namespace, name: pod.name, labels: pod.labels ?? {} },
    spec: { containers: [{ name: "serve", ports }], ...pod.spec },
    status: { phase: "Running", podIP: pod.address, ...pod.status },
  };
}

/** What the agent would read from a cluster that has these pods, and this step's policies and labels. */
export function clusterView(
  pods: readonly string[],
  { policies, extraLabels = {} }: Pick<NetpolStep, "policies" | "extraLabels">,
): ClusterView {
  const names = [...new Set(pods.map((pod) => pod.split("/")[0] ?? ""))];
  return {
    pods: pods.flatMap((pod) => {
      const [namespace = "", name = ""] = pod.split("/");
      const labels = { pod: name, ...extraLabels[pod] };
      return readPod(rawPod({ namespace, name, labels, address: addressOf(pods, pod) })) ?? [];
    }),
    namespaces: names.map((name) =>
      readNamespace({
        metadata: { name, labels: { "kubernetes.io/metadata.name": name, ...extraLabels[name] } },
      }),
    ),
    policies: policies((pod) => addressOf(pods, pod)).map(readNetworkPolicy),
  };
}
