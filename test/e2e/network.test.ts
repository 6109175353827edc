import { connect, createServer, type Server } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

import { CoreV1Api } from "@kubernetes/client-node";
import { afterAll, beforeAll, expect, test } from "vitest";

import {
  everyFlow,
  isOpen,
  type NetworkSettings,
  parties,
  type PartyName,
  partyNames,
  type Port,
  ports,
} from "../../components/network/network-paths.ts";
import { networkPolicySpecs } from "../../components/network/network-policies.ts";
import { network } from "../../sandbox/layout.ts";
import { applyObjects } from "../../tools/kube/apply.ts";
import { readDeclaration } from "../../tools/program/stack-file.ts";
import { type Probe, reach, startProbe } from "../../tools/verify/probe-pod.ts";
import { Target } from "../../tools/verify/target.ts";
import { bringUp } from "./bring-up.ts";
import { layout } from "./stacks.ts";
import { sandboxCluster } from "./live.ts";

/** A namespace with the stack's policies and, for each party, a pod with its labels that listens on every port. */
const stack = "geocrop-e2e-network";
const elsewhere = "geocrop-e2e-elsewhere";
const monitoring = "geocrop-e2e-monitoring";
const namespaces = [stack, elsewhere, monitoring];

function namespaceOf(name: PartyName): string {
  if (parties[name].place === "stack") return stack;
  return name === "monitor" ? monitoring : elsewhere;
}

/** The real cluster DNS, which listens on one port only, stands for itself. */
const dnsHost = "10.96.0.10";

let target: Target;
const pods = new Map<PartyName, Probe>();
const nodePorts = new Map<string, number>();
const listeners: Server[] = [];

const podParties = partyNames.filter((name) => name !== "dns" && name !== "outside");

beforeAll(async () => {
  process.env["KUBECONFIG"] = layout.kubeconfig;
  await bringUp();
  const cluster = sandboxCluster();
  const settings = readDeclaration(layout.stackFile);
  target = new Target({ cluster, namespace: stack, settings, image: settings.images.signedUrlApi });
  await removeNamespaces();
  for (const name of namespaces) await target.core.createNamespace({ body: { metadata: { name } } });
  for (const name of podParties) {
    const { labels, place } = parties[name];
    const namespace = namespaceOf(name);
    pods.set(
      name,
      await startProbe(target, { namespace, labels: { ...labels, party: name }, ports: [...ports] }),
    );
    if (place === "stack") await exposeToOutside(name);
  }
  for (const port of ports) {
    const server = createServer((socket) => socket.end());
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject).listen(port, network.hostAddress, resolve);
    });
    listeners.push(server);
  }
});

afterAll(async () => {
  for (const server of listeners) server.close();
  await removeNamespaces();
});

async function removeNamespaces(): Promise<void> {
  const core = sandboxCluster().makeApiClient(CoreV1Api);
  for (const name of namespaces) await core.deleteNamespace({ name }).catch(() => undefined);
  for (let tries = 0; tries < 240; tries += 1) {
    const { items } = await core.listNamespace();
    if (!items.some(({ metadata }) => namespaces.includes(metadata?.name ?? ""))) return;
    await pause(500);
  }
  throw new Error("the namespaces of an earlier run do not go");
}

/** A port of the node for each of a pod's, so that the outside has a way to try. */
async function exposeToOutside(name: PartyName): Promise<void> {
  const service = await target.core.createNamespacedService({
    namespace: stack,
    body: {
      metadata: { name },
      spec: {
        type: "NodePort",
        selector: { party: name },
        // Probe pods are never ready.
        publishNotReadyAddresses: true,
        ports: ports.map((port) => ({ name: `p${port}`, port, targetPort: port })),
      },
    },
  });
  for (const { port, nodePort } of service.spec?.ports ?? []) nodePorts.set(`${name}:${port}`, nodePort ?? 0);
}

async function apply(name: string, spec: object): Promise<void> {
  const policy = {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name, namespace: stack },
    spec,
  };
  await applyObjects(target.cluster, [policy], "network-test");
}

function addressOf(name: PartyName): string {
  if (name === "dns") return dnsHost;
  return name === "outside" ? network.hostAddress : (pods.get(name)?.ip ?? "");
}

/** What can be tried: cluster DNS is no pod of ours to try from, and answers on one port. */
const flows = everyFlow().filter(([from, to, port]) => from !== "dns" && (to !== "dns" || port === 53));

const told = ([from, to, port]: (typeof flows)[number]) => `${from} > ${to}:${port}`;

/** Every connection that is made, of all that can be tried. */
async function connections(): Promise<string[]> {
  const results = await Promise.all(
    partyNames.map(async (from) => {
      const mine = flows.filter(([source]) => source === from);
      const pod = pods.get(from);
      const how =
        from === "outside"
          ? await Promise.all(mine.map(([, to, port]) => connectFromHere(to, port)))
          : pod === undefined
            ? []
            : await reach(
                target,
                pod,
                mine.map(([, to, port]) => ({ host: addressOf(to), port })),
              );
      return mine.filter((_, index) => how[index] === "connected");
    }),
  );
  return results.flat().map(told).toSorted();
}

/** This machine is outside: it has no way to a pod but the node's ports. */
function connectFromHere(to: PartyName, port: Port): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: network.nodeAddress, port: nodePorts.get(`${to}:${port}`) ?? 0 });
    const end = (how: string): void => {
      socket.destroy();
      resolve(how);
    };
    socket.setTimeout(1500, () => end("silence"));
    socket.once("connect", () => end("connected"));
    socket.once("error", (error) => end(error.message));
  });
}

/** Tries until the network has heard of the policies, and shows what it came to. */
async function expectConnections(expected: readonly string[]): Promise<void> {
  await expect.poll(connections, { timeout: 40_000, interval: 1000 }).toEqual(expected.toSorted());
}

test("without policies everything is open, so that what is closed below is closed by them", async () => {
  await expectConnections(flows.map(told));
  expect(flows.length).toBeGreaterThan(300);
});

test("a deny-all is seen to block everything", async () => {
  await apply("default-deny", { podSelector: {}, policyTypes: ["Ingress", "Egress"] });
  await expectConnections([]);
  expect(await connections()).toEqual([]);
});

test.each<NetworkSettings>([
  { minioReplicas: 1, fetchesTokenKeys: false },
  { minioReplicas: 4, fetchesTokenKeys: true, monitoring, forwardPort: 443 },
])("with %o exactly the ways of the truth table are open", async (settings) => {
  for (const [name, spec] of Object.entries(networkPolicySpecs(settings))) await apply(name, spec);
  const expected = flows.filter(([from, to, port]) => isOpen(settings, from, to, port)).map(told);
  await expectConnections(expected);
  // And it stays so: nothing opens late.
  await pause(2000);
  expect(await connections()).toEqual(expected.toSorted());
});
