import { type ChildProcessByStdio, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { rulesetFor } from "../../sandbox/cluster/node-agent/ruleset.ts";
import { type NetpolStep, connectsIn, netpolCases } from "../support/netpol-cases.ts";
import { type ProbeRequest, answerSchema } from "../support/netpol-pod.ts";
import { clusterView } from "../support/netpol-view.ts";

/**
 * The node agent's rulesets in a real kernel: a bridge, processes in network namespaces of their own as pods, real
 * sockets, no Kubernetes. Everything lives in namespaces that end with their processes.
 */
const root = process.getuid?.() === 0;
const POD_SCRIPT = fileURLToPath(import.meta.resolve("../support/netpol-pod.ts"));
const MOST_PODS = Math.max(...netpolCases.map(({ pods }) => pods.length));

/** Milliseconds. A refusal is seen by waiting in vain, an acceptance must stand a busy machine. */
const WAIT_IN_VAIN = 400;
const WAIT_FOR_ANSWER = 10_000;

const NODE_ADDRESS = "10.213.77.2";
const OUTSIDE_ADDRESS = "10.213.77.1";
const SERVICE_ADDRESS = "10.96.0.50";

const address = (index: number): string => `10.244.0.${10 + index}`;
const policy = (spec: object): object => ({ metadata: { namespace: "x", name: "p" }, spec });
const fromBlock = (cidr: string): object => policy({ ingress: [{ from: [{ ipBlock: { cidr } }] }] });

type Process = ChildProcessByStdio<Writable, Readable, null>;

/** A process in a network namespace of its own. */
class Host {
  readonly process: Process;
  readonly #waiting = new Map<number, (seen: string | null) => void>();
  #requests = 0;

  constructor(...command: readonly string[]) {
    this.process = spawn("unshare", ["--net", "--", ...command], { stdio: ["pipe", "pipe", "inherit"] });
    createInterface(this.process.stdout).on("line", (line) => {
      const { id, seen } = answerSchema.parse(JSON.parse(line));
      this.#waiting.get(id)?.(seen);
    });
  }

  /** Runs a shell script in the namespace. */
  run(script: string, input = ""): string {
    const enter = ["-t", String(this.process.pid), "-n", "sh", "-ec", script];
    return execFileSync("nsenter", enter, { input, encoding: "utf8" });
  }

  /** The address that the server saw this host by, or null if it was not reached. */
  async probe(host: string, options: Partial<ProbeRequest> = {}): Promise<string | null> {
    this.#requests += 1;
    const request: ProbeRequest = {
      id: this.#requests,
      protocol: "TCP",
      host,
      port: 80,
      timeout: WAIT_FOR_ANSWER,
      ...options,
    };
    const { promise, resolve } = Promise.withResolvers<string | null>();
    this.#waiting.set(request.id, resolve);
    this.process.stdin.write(`${JSON.stringify(request)}\n`);
    return promise;
  }

  async end(): Promise<void> {
    const ended = once(this.process, "exit");
    this.process.kill("SIGKILL");
    await ended;
  }
}

describe.skipIf(!root)("network policies in the kernel (needs root for network namespaces)", () => {
  let node: Host;
  let outside: Host;
  let pods: readonly Host[];
  const apply = (podNames: readonly string[], step: Pick<NetpolStep, "policies" | "extraLabels">) =>
    node.run("nft -f -", rulesetFor({ ...clusterView(podNames, step), bridge: "cni0" }));
  const pod = (index: number): Host => {
    const host = pods[index];
    if (!host) throw new Error(`no pod ${index}`);
    return host;
  };

  beforeAll(async () => {
    node = new Host(process.execPath, POD_SCRIPT);
    outside = new Host(process.execPath, POD_SCRIPT);
    pods = Array.from({ length: MOST_PODS }, () => new Host(process.execPath, POD_SCRIPT));
    // Each answers only once it is in its namespace and listens.
    await Promise.all([node, outside, ...pods].map((host) => host.probe("127.0.0.1")));
    node.run(`
      ip link set lo up
      ip link add cni0 type bridge
      ip address add 10.244.0.1/24 dev cni0
      ip link set cni0 up
      echo 1 > /proc/sys/net/ipv4/ip_forward
      for name in call-iptables call-ip6tables filter-vlan-tagged; do
        echo 1 > /proc/sys/net/bridge/bridge-nf-$name
      done`);
    const plug = (host: Host, veth: string, own: string, gateway: string, master: string): void => {
      node.run(`
        ip link add ${veth} type veth peer name eth0 netns ${host.process.pid}
        ip link set ${veth} ${master} up`);
      host.run(`
        ip link set lo up
        ip address add ${own} dev eth0
        ip link set eth0 up
        ip route add default via ${gateway}`);
    };
    pods.forEach((host, index) => {
      plug(host, `pod${index}`, `${address(index)}/24`, "10.244.0.1", "master cni0");
    });
    plug(outside, "outside", `${OUTSIDE_ADDRESS}/30`, NODE_ADDRESS, "");
    node.run(`ip address add ${NODE_ADDRESS}/30 dev outside`);
    // As kube-proxy does it: a Service's address, and a NodePort whose clients are masqueraded, lead to pod 0.
    node.run(
      "nft -f -",
      `table ip services {
        chain prerouting {
          type nat hook prerouting priority -100
          ip daddr ${SERVICE_ADDRESS} tcp dport 8080 dnat to ${address(0)}:80
          ip daddr ${NODE_ADDRESS} tcp dport 30443 meta mark set 0x4000 dnat to ${address(0)}:80
        }
        chain postrouting {
          type nat hook postrouting priority 100
          meta mark 0x4000 masquerade
        }
      }`,
    );
  });

  afterAll(async () => {
    await Promise.all([...pods, outside, node].map((host) => host.end()));
  });

  const inVain = { timeout: WAIT_IN_VAIN };
  const three = ["x/a", "x/b", "y/b"];
  const denyAll = policy({ policyTypes: ["Ingress", "Egress"] });

  // Node has no SCTP sockets: where only SCTP is asked for, all that is tried is that the kernel takes the rules.
  const titled = netpolCases.map((c) => {
    const tried = c.steps.some(({ probes }) => probes.some(({ protocol }) => protocol !== "SCTP"));
    return [`${c.name} (${c.origin}${tried ? "" : "; rules loaded, nothing sent"})`, c] as const;
  });
  test.each(titled)("%s", async (_, { pods, steps }) => {
    for (const step of steps) {
      apply(pods, step);
      for (const probe of step.probes) {
        const { protocol, port } = probe;
        if (protocol === "SCTP") continue;
        const pairs = pods.flatMap((from, f) =>
          pods.map((to, t) => ({ from, to, f, t, expected: connectsIn(probe, from, to) })),
        );
        const observed = await Promise.all(
          pairs.map(async ({ from, to, f, t, expected }) => {
            const timeout = expected ? WAIT_FOR_ANSWER : WAIT_IN_VAIN;
            const seen = await pod(f).probe(address(t), { protocol, port, timeout });
            return `${from} -> ${to}: ${seen === null ? "no" : "yes"}`;
          }),
        );
        expect(observed).toEqual(
          pairs.map(({ from, to, expected }) => `${from} -> ${to}: ${expected ? "yes" : "no"}`),
        );
      }
    }
  });

  test("a Service's address is filtered as its pod's", async () => {
    apply(three, { policies: () => [policy({ podSelector: { matchLabels: { pod: "a" } } })] });
    expect(await pod(1).probe(SERVICE_ADDRESS, { port: 8080, ...inVain })).toBeNull();
    apply(three, {
      policies: () => [policy({ ingress: [{ from: [{ podSelector: { matchLabels: { pod: "b" } } }] }] })],
    });
    expect(await pod(1).probe(SERVICE_ADDRESS, { port: 8080 })).toBe(address(1));
    expect(await pod(2).probe(SERVICE_ADDRESS, { port: 8080, ...inVain })).toBeNull();
  });

  test("a NodePort's client from outside is judged by its own address, although the pod sees the node's", async () => {
    apply(three, { policies: () => [fromBlock(`${OUTSIDE_ADDRESS}/32`)] });
    expect(await outside.probe(NODE_ADDRESS, { port: 30443 })).toBe("10.244.0.1");
    apply(three, { policies: () => [fromBlock("10.244.0.0/24")] });
    expect(await outside.probe(NODE_ADDRESS, { port: 30443, ...inVain })).toBeNull();
  });

  test("a pod that is not known yet reaches nobody and is reached by the node alone", async () => {
    apply(["x/a", "x/b"], { policies: () => [] });
    expect(await pod(0).probe(address(1))).toBe(address(0));
    expect(await pod(2).probe(address(0), inVain)).toBeNull();
    expect(await pod(0).probe(address(2), inVain)).toBeNull();
    expect(await pod(2).probe(NODE_ADDRESS, inVain)).toBeNull();
    expect(await pod(2).probe(OUTSIDE_ADDRESS, inVain)).toBeNull();
    expect(await node.probe(address(2))).toBe("10.244.0.1");
  });

  test("an isolated pod is still reached by the node, for probes, but reaches neither it nor the outside", async () => {
    apply(three, { policies: () => [denyAll] });
    expect(await node.probe(address(0))).toBe("10.244.0.1");
    expect(await pod(0).probe(NODE_ADDRESS, inVain)).toBeNull();
    expect(await pod(0).probe("10.244.0.1", inVain)).toBeNull();
    expect(await pod(0).probe(OUTSIDE_ADDRESS, inVain)).toBeNull();
    expect(await outside.probe(address(0), inVain)).toBeNull();
    apply(three, { policies: () => [] });
    expect(await pod(0).probe(NODE_ADDRESS)).toBe(address(0));
    expect(await outside.probe(address(0))).toBe(OUTSIDE_ADDRESS);
  });

  test("a new policy also ends connections that it would not have let begin", async () => {
    apply(three, { policies: () => [] });
    const askAgainAfter = 300;
    const stays = pod(1).probe(address(0), { askAgainAfter });
    const ends = pod(2).probe(address(0), { askAgainAfter, timeout: askAgainAfter + WAIT_IN_VAIN });
    await setTimeout(askAgainAfter / 2);
    apply(three, { policies: () => [fromBlock(`${address(1)}/32`)] });
    expect(await stays).toBe(address(1));
    expect(await ends).toBeNull();
  });

  test("IPv6 is no way around", async () => {
    apply(three, { policies: () => [] });
    const linkLocal = /inet6 (fe80\S+)\//.exec(pod(1).run("ip -6 address show dev eth0"))?.[1];
    expect(linkLocal).toBeDefined();
    expect(await pod(0).probe(`${linkLocal}%eth0`, inVain)).toBeNull();
    node.run("nft delete table ip6 geocrop-sandbox-netpol");
    expect(await pod(0).probe(`${linkLocal}%eth0`)).not.toBeNull();
  });
});
