import { expect, test } from "vitest";

import { networkPolicySpecs } from "../../components/network-policies.ts";
import { podLabels } from "../../components/workload.ts";
import { decisionsFor, flowAllowed } from "../../sandbox/node-agent/decisions.ts";
import { readNamespace, readPod } from "../../sandbox/node-agent/cluster-objects.ts";
import { readNetworkPolicy } from "../../sandbox/node-agent/network-policy.ts";

const outside = "192.0.2.7";

/** Who is on the network, by address. */
const hosts: Record<string, { namespace: string; labels: Record<string, string> }> = {
  "10.244.0.10": { namespace: "geocrop", labels: podLabels("geocrop-api", "signed-url-api") },
  "10.244.0.11": { namespace: "geocrop", labels: podLabels("geocrop-worker", "worker") },
  "10.244.0.12": { namespace: "geocrop", labels: podLabels("geocrop-api", "job-submitter") },
  "10.244.0.13": { namespace: "geocrop", labels: podLabels("geocrop-downloads", "download-gateway") },
  "10.244.0.14": { namespace: "geocrop", labels: podLabels("minio", "object-storage") },
  "10.244.0.15": { namespace: "geocrop", labels: podLabels("minio", "object-storage") },
  "10.244.0.16": { namespace: "geocrop", labels: podLabels("audit-receiver", "audit-log") },
  "10.244.0.17": { namespace: "geocrop", labels: { app: "stranger" } },
  "10.244.0.18": { namespace: "elsewhere", labels: podLabels("geocrop-api", "signed-url-api") },
  "10.244.0.19": { namespace: "kube-system", labels: { "k8s-app": "kube-dns" } },
};
const [api, worker, submitter, gateway, minio, peer, audit, stranger, spoofer, dns] = Object.keys(hosts);

function decisions(minioReplicas: number, fetchesTokenKeys: boolean) {
  return decisionsFor({
    pods: Object.entries(hosts).flatMap(([podIP, { namespace, labels }], index) => {
      const pod = readPod({
        metadata: { name: `pod-${index}`, namespace, labels },
        spec: { containers: [] },
        status: { podIP, phase: "Running" },
      });
      return pod === undefined ? [] : [pod];
    }),
    namespaces: ["geocrop", "elsewhere", "kube-system"].map((name) =>
      readNamespace({ metadata: { name, labels: { "kubernetes.io/metadata.name": name } } }),
    ),
    policies: Object.entries(networkPolicySpecs({ minioReplicas, fetchesTokenKeys })).map(([name, spec]) =>
      readNetworkPolicy({ metadata: { name, namespace: "geocrop" }, spec }),
    ),
  });
}

/** Every pair of hosts on every port that anything listens on, but for what a pod sends to itself. */
function reachable(minioReplicas: number, fetchesTokenKeys = false): string[] {
  const known = decisions(minioReplicas, fetchesTokenKeys);
  const addresses = [...Object.keys(hosts), outside];
  return addresses.flatMap((from) =>
    addresses.flatMap((to) =>
      [53, 443, 8443, 9000].flatMap((port) =>
        from !== to && flowAllowed(known, { from, to, protocol: "TCP", port })
          ? [`${from} > ${to}:${port}`]
          : [],
      ),
    ),
  );
}

const closed = new Set(reachable(1));

/** Pods without a policy of ours may send anything; what counts is what they reach in the namespace. */
const free = new Set([spoofer, dns, outside]);
const ours = (flow: string) => {
  const [from, to = ""] = flow.split(" > ");
  const target = to.split(":")[0];
  return !(free.has(from) && free.has(target));
};

const everybody = [api, worker, submitter, gateway, minio, peer, audit, stranger, spoofer, dns, outside];
const inside = [api, worker, submitter, gateway, minio, peer, audit, stranger];

test("only the listed ways are open, of all pairs of pods and ports", () => {
  const expected = [
    ...inside.map((from) => `${from} > ${dns}:53`),
    ...[api, worker, submitter, gateway].flatMap((from) => [minio, peer].map((to) => `${from} > ${to}:9000`)),
    ...[minio, peer].map((from) => `${from} > ${audit}:8443`),
    // The doors to the outside; pods in the namespace have no business there, and no way out.
    ...[spoofer, dns, outside].flatMap((from) => [api, gateway].map((to) => `${from} > ${to}:8443`)),
  ];
  expect([...closed].filter(ours).toSorted()).toEqual(expected.toSorted());
});

test("several MinIO pods reach one another, and nothing else opens", () => {
  const opened = reachable(4).filter((flow) => !closed.has(flow));
  expect(opened.toSorted()).toEqual([`${minio} > ${peer}:9000`, `${peer} > ${minio}:9000`].toSorted());
});

test("fetching token keys opens the API's way out on 443 only", () => {
  const opened = reachable(1, true).filter((flow) => !closed.has(flow));
  expect(opened).toEqual([`${api} > ${spoofer}:443`, `${api} > ${dns}:443`, `${api} > ${outside}:443`]);
});

test.each([
  ["a stranger in the namespace", stranger],
  ["a pod elsewhere with the API's labels", spoofer],
  ["the audit receiver", audit],
  ["anybody outside", outside],
])("%s does not reach MinIO on any port", (_, from) => {
  const known = decisions(4, true);
  for (const port of [1, 53, 443, 8443, 9000, 9001, 65_535]) {
    expect(flowAllowed(known, { from: from ?? "", to: minio ?? "", protocol: "TCP", port })).toBe(false);
  }
});

test("nobody reaches a stranger in the namespace", () => {
  for (const from of everybody.filter((from) => from !== stranger)) {
    expect([...closed].filter((flow) => flow.startsWith(`${from} > ${stranger}:`))).toEqual([]);
  }
});
