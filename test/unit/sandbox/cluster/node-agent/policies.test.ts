import { describe, expect, test } from "vitest";
import { readNamespace, readPod } from "../../../../../sandbox/cluster/node-agent/cluster-objects.ts";
import { decisionsFor, flowAllowed } from "../../../../../sandbox/cluster/node-agent/decisions.ts";
import {
  type NetworkPolicy,
  readNetworkPolicy,
} from "../../../../../sandbox/cluster/node-agent/network-policy.ts";
import { rulesetFor } from "../../../../../sandbox/cluster/node-agent/ruleset.ts";
import { labelSelectorSchema, selectorMatches } from "../../../../../sandbox/cluster/node-agent/selectors.ts";
import { connectsIn, netpolCases } from "../../../../support/netpol-cases.ts";
import { addressOf, clusterView, rawPod } from "../../../../support/netpol-view.ts";

const matches = (selector: object, labels: Record<string, string>): boolean =>
  selectorMatches(labelSelectorSchema.parse(selector), labels);

const read = (spec: object): NetworkPolicy =>
  readNetworkPolicy({ metadata: { namespace: "x", name: "p" }, spec });

const pod = (name: string, overrides: { spec?: object; status?: object; namespace?: string } = {}): object =>
  rawPod({ namespace: "x", name, address: "10.244.0.9", ...overrides });

/** The lines of one chain of the ip table. */
const chain = (ruleset: string, name: string): string[] | undefined =>
  ruleset
    .split("table ip geocrop-sandbox-netpol {")[1]
    ?.split(`  chain ${name} {\n`)[1]
    ?.split("\n  }")[0]
    ?.split("\n")
    .map((line) => line.trim());

describe("the truth tables of Kubernetes' network policy tests", () => {
  test.each(netpolCases.map((c) => [`${c.name} (${c.origin})`, c] as const))("%s", (_, { pods, steps }) => {
    for (const step of steps) {
      const decisions = decisionsFor(clusterView(pods, step));
      for (const probe of step.probes) {
        const pairs = pods.flatMap((from) => pods.map((to) => [from, to] as const));
        const told = (connects: (from: string, to: string) => boolean) =>
          pairs.map(([from, to]) => `${from} -> ${to}: ${connects(from, to) ? "yes" : "no"}`);
        expect(
          told((from, to) =>
            flowAllowed(decisions, { ...probe, from: addressOf(pods, from), to: addressOf(pods, to) }),
          ),
        ).toEqual(told((from, to) => connectsIn(probe, from, to)));
      }
    }
  });
});

describe("selectors", () => {
  test.each([
    ["an empty selector matches a pod without labels", {}, {}, true],
    ["all matchLabels must hold", { matchLabels: { a: "1", b: "2" } }, { a: "1" }, false],
    ["In", { matchExpressions: [{ key: "a", operator: "In", values: ["1", "2"] }] }, { a: "2" }, true],
    ["In without the key", { matchExpressions: [{ key: "a", operator: "In", values: ["1"] }] }, {}, false],
    ["NotIn", { matchExpressions: [{ key: "a", operator: "NotIn", values: ["1"] }] }, { a: "1" }, false],
    [
      "NotIn without the key",
      { matchExpressions: [{ key: "a", operator: "NotIn", values: ["1"] }] },
      {},
      true,
    ],
    ["Exists", { matchExpressions: [{ key: "a", operator: "Exists" }] }, { a: "" }, true],
    ["DoesNotExist", { matchExpressions: [{ key: "a", operator: "DoesNotExist" }] }, { a: "" }, false],
    [
      "labels and expressions are joined by and",
      { matchLabels: { a: "1" }, matchExpressions: [{ key: "b", operator: "Exists" }] },
      { a: "1" },
      false,
    ],
    [
      "a label named as something every object has",
      { matchExpressions: [{ key: "constructor", operator: "Exists" }] },
      {},
      false,
    ],
  ])("%s", (_, selector, labels, expected) => {
    expect(matches(selector, labels)).toBe(expected);
  });
});

describe("reading a policy", () => {
  test.each([
    ["nothing: ingress only", {}, true, false],
    ["an empty egress list: ingress only", { egress: [] }, true, false],
    ["egress rules: both", { egress: [{}] }, true, true],
    ["named types win", { policyTypes: ["Egress"], ingress: [{}] }, false, true],
  ])("isolates, from %s", (_, spec, ingress, egress) => {
    const policy = read(spec);
    expect([policy.fault, policy.ingress !== undefined, policy.egress !== undefined]).toEqual([
      undefined,
      ingress,
      egress,
    ]);
  });

  test.each([
    ["an unknown field of the spec", { priority: 5 }, /priority/],
    ["an unknown field of a rule", { ingress: [{ action: "Deny" }] }, /action/],
    ["an unknown field of a peer", { ingress: [{ from: [{ nodeSelector: {} }] }] }, /nodeSelector/],
    ["an empty peer", { ingress: [{ from: [{}] }] }, /either an ipBlock or selectors/],
    [
      "an ipBlock beside a selector",
      { ingress: [{ from: [{ podSelector: {}, ipBlock: { cidr: "10.0.0.0/8" } }] }] },
      /either an ipBlock or selectors/,
    ],
    ["an IPv6 block", { egress: [{ to: [{ ipBlock: { cidr: "::/0" } }] }] }, /IPv6 is not supported/],
    ["a CIDR without length", { egress: [{ to: [{ ipBlock: { cidr: "10.0.0.1" } }] }] }, /not an IPv4 CIDR/],
    ["another protocol", { ingress: [{ ports: [{ protocol: "ICMP" }] }] }, /protocol/],
    ["an endPort for a named port", { ingress: [{ ports: [{ port: "http", endPort: 9 }] }] }, /endPort/],
    ["an endPort below the port", { ingress: [{ ports: [{ port: 10, endPort: 9 }] }] }, /endPort/],
    ["another policy type", { policyTypes: ["Audit"] }, /policyTypes/],
    [
      "another operator",
      { podSelector: { matchExpressions: [{ key: "a", operator: "Gt", values: ["1"] }] } },
      /operator/,
    ],
  ])("does not ignore %s", (_, spec, fault) => {
    expect(read(spec)).toMatchObject({ fault: expect.stringMatching(fault), ingress: [], egress: [] });
  });

  test("keeps the selector of a policy that it does not understand otherwise", () => {
    const podSelector = { matchLabels: { pod: "a" } };
    expect(read({ podSelector, priority: 1 }).podSelector.matchLabels).toEqual({ pod: "a" });
  });
});

describe("which pods are known", () => {
  const namespaces = [readNamespace({ metadata: { name: "x" } })];
  const known = (...pods: object[]) =>
    decisionsFor({ pods: pods.flatMap((raw) => readPod(raw) ?? []), namespaces, policies: [] }).map(
      ({ pod }) => pod.name,
    );
  test.each([
    ["one with an address", pod("a"), ["a"]],
    ["not one on the node's network", pod("a", { spec: { hostNetwork: true } }), []],
    ["not one without an address", pod("a", { status: { podIP: undefined } }), []],
    ["not one that has ended", pod("a", { status: { phase: "Succeeded" } }), []],
    ["not one whose namespace is not known yet", pod("a", { namespace: "y" }), []],
    ["not one with an IPv6 address", pod("a", { status: { podIP: "fd00::1" } }), []],
  ])("%s", (_, raw, names) => {
    expect(known(raw)).toEqual(names);
  });

  test("none of two that claim the same address, but one whose predecessor has ended", () => {
    expect(known(pod("a"), pod("b"))).toEqual([]);
    expect(known(pod("a", { status: { phase: "Failed" } }), pod("b"))).toEqual(["b"]);
  });
});

describe("the rendered ruleset", () => {
  const pods = ["x/a", "y/a"];
  const render = (...specs: object[]) =>
    rulesetFor({ ...clusterView(pods, { policies: () => [] }), policies: specs.map(read), bridge: "cni0" });
  test("replaces its own tables in one transaction", () => {
    const lines = render().split("\n");
    expect(lines.slice(0, 4)).toEqual([
      "add table ip geocrop-sandbox-netpol",
      "delete table ip geocrop-sandbox-netpol",
      "add table ip6 geocrop-sandbox-netpol",
      "delete table ip6 geocrop-sandbox-netpol",
    ]);
  });

  test("drops addresses that are not known, in both directions, after replies", () => {
    expect(chain(render(), "forward")).toEqual([
      "type filter hook forward priority -10; policy accept;",
      "ct direction reply accept",
      "ct state related accept",
      'iifname "cni0" ip saddr != @pods counter drop',
      'oifname "cni0" ip daddr != @pods counter drop',
      'iifname "cni0" jump leaving',
      'oifname "cni0" jump entering',
    ]);
  });

  test("has no chain for a pod that nothing isolates", () => {
    expect(render()).not.toContain("ingress/");
    expect(render({})).not.toContain("egress/");
  });

  test("ends an isolated pod's chain with a drop, and lets it reach itself", () => {
    expect(chain(render({}), "ingress/10.244.0.10")).toEqual([
      'comment "x/a"',
      "ip saddr 10.244.0.10 return",
      "counter drop",
    ]);
  });

  test("renders peers, blocks and ports", () => {
    const spec = {
      ingress: [
        {
          from: [{ namespaceSelector: {} }, { ipBlock: { cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] } }],
          ports: [{ port: 80 }, { port: 90, endPort: 99, protocol: "UDP" }, { protocol: "SCTP" }],
        },
      ],
    };
    expect(chain(render(spec), "ingress/10.244.0.10")?.slice(2, -1)).toEqual([
      "ip saddr { 10.244.0.10, 10.244.0.11 } tcp dport 80 return",
      "ip saddr { 10.244.0.10, 10.244.0.11 } udp dport 90-99 return",
      "ip saddr { 10.244.0.10, 10.244.0.11 } meta l4proto sctp return",
      "ip saddr 10.0.0.0/8 ip saddr != 10.1.0.0/16 tcp dport 80 return",
      "ip saddr 10.0.0.0/8 ip saddr != 10.1.0.0/16 udp dport 90-99 return",
      "ip saddr 10.0.0.0/8 ip saddr != 10.1.0.0/16 meta l4proto sctp return",
    ]);
  });

  test("permits nothing for a rule whose peers match no pod", () => {
    const spec = { ingress: [{ from: [{ podSelector: { matchLabels: { pod: "none" } } }] }] };
    expect(chain(render(spec), "ingress/10.244.0.10")).toHaveLength(3);
  });

  test("refuses a bridge name that could not be one", () => {
    expect(() => rulesetFor({ pods: [], namespaces: [], policies: [], bridge: 'x" accept' })).toThrow(
      "not an interface name",
    );
  });
});
