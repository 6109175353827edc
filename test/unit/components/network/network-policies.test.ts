import { expect, test } from "vitest";

import {
  everyFlow,
  isOpen,
  type NetworkSettings,
  parties,
  type PartyName,
  partyNames,
} from "../../../../components/network/network-paths.ts";
import { networkPolicySpecs } from "../../../../components/network/network-policies.ts";
import { readNamespace, readPod } from "../../../../sandbox/cluster/node-agent/cluster-objects.ts";
import { decisionsFor, flowAllowed } from "../../../../sandbox/cluster/node-agent/decisions.ts";
import { readNetworkPolicy } from "../../../../sandbox/cluster/node-agent/network-policy.ts";
import { networkPage } from "../../../support/network-page.ts";

const addressOf = (name: PartyName): string =>
  parties[name].place === "outside" ? "192.0.2.7" : `10.244.0.${10 + partyNames.indexOf(name)}`;

const namespaceOf = (name: PartyName): string =>
  parties[name].place === "stack" ? "geocrop" : (homes[name] ?? "elsewhere");
const homes: Partial<Record<PartyName, string>> = { dns: "kube-system", monitor: "monitoring" };

function decisions(settings: NetworkSettings) {
  return decisionsFor({
    pods: partyNames.flatMap((name) => {
      const pod = readPod({
        metadata: { name, namespace: namespaceOf(name), labels: parties[name].labels },
        spec: { containers: [] },
        status: { podIP: addressOf(name), phase: "Running" },
      });
      return pod === undefined || parties[name].place === "outside" ? [] : [pod];
    }),
    namespaces: ["geocrop", "elsewhere", "kube-system", "monitoring"].map((name) =>
      readNamespace({ metadata: { name, labels: { "kubernetes.io/metadata.name": name } } }),
    ),
    policies: Object.entries(networkPolicySpecs(settings)).map(([name, spec]) =>
      readNetworkPolicy({ metadata: { name, namespace: "geocrop" }, spec }),
    ),
  });
}

const cases = [1, 4].flatMap((minioReplicas) =>
  [false, true].flatMap((fetchesTokenKeys) =>
    [undefined, 443].flatMap((forwardPort) =>
      [undefined, "monitoring"].map((monitoring) => ({
        minioReplicas,
        fetchesTokenKeys,
        forwardPort,
        monitoring,
      })),
    ),
  ),
);

test.each(cases)("the policies mean what the truth table says, with %o", (settings) => {
  const known = decisions(settings);
  const say = (open: (from: PartyName, to: PartyName, port: number) => boolean) =>
    everyFlow()
      .filter(([from, to, port]) => open(from, to, port))
      .map(([from, to, port]) => `${from} > ${to}:${port}`);
  const meant = say((from, to, port) =>
    flowAllowed(known, { from: addressOf(from), to: addressOf(to), protocol: "TCP", port }),
  );
  const expected = everyFlow()
    .filter(([from, to, port]) => isOpen(settings, from, to, port))
    .map(([from, to, port]) => `${from} > ${to}:${port}`);
  expect(meant).toEqual(expected);
  expect(expected.length).toBeGreaterThan(20);
});

test.each(["stranger", "spoofer", "audit", "outside"] as const)(
  "%s does not reach MinIO on any port, not even one that the table does not know",
  (from) => {
    const known = decisions({ minioReplicas: 4, fetchesTokenKeys: true });
    for (const port of [1, 53, 443, 8443, 9000, 9001, 65_535]) {
      const flow = { from: addressOf(from), to: addressOf("minio"), protocol: "TCP", port } as const;
      expect(flowAllowed(known, flow)).toBe(false);
    }
  },
);

test("names are asked for by UDP as well", () => {
  const known = decisions({ minioReplicas: 1, fetchesTokenKeys: false });
  const flow = { from: addressOf("worker"), to: addressOf("dns"), protocol: "UDP", port: 53 } as const;
  expect(flowAllowed(known, flow)).toBe(true);
  expect(flowAllowed(known, { ...flow, to: addressOf("outside") })).toBe(false);
});

test("docs/network.md is what the truth table says", async () => {
  await expect(networkPage()).toMatchFileSnapshot("../../../../docs/network.md");
});
