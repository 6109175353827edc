import type { Protocol } from "../../sandbox/cluster/node-agent/network-policy.ts";

/**
 * The truth tables of Kubernetes' own network policy tests (k8s.io/kubernetes v1.36.2,
 * test/e2e/network/netpol/network_policy.go), retold as data: same pods, same policies, same expectations. Left
 * out are the two that only store policies in the API. `origin: "ours"` marks shapes that it does not try.
 */
export interface NetpolCase {
  readonly name: string;
  readonly origin: "kubernetes" | "ours";
  /** "namespace/pod"; the label `pod` has the pod's name, every pod serves 80 and 81. */
  readonly pods: readonly string[];
  readonly steps: readonly NetpolStep[];
}

export interface NetpolStep {
  /** NetworkPolicies as the API server would send them; told each pod's address. */
  readonly policies: (addressOf: (pod: string) => string) => readonly unknown[];
  /** Labels beside the usual ones, by "namespace/pod" or "namespace". */
  readonly extraLabels?: Readonly<Record<string, Record<string, string>>>;
  readonly probes: readonly NetpolProbe[];
}

export interface NetpolProbe {
  readonly protocol: Protocol;
  readonly port: number;
  /** All pairs connect, but for these, in order: from, to ("*", "x" or "x/a"), whether. A pod reaches itself. */
  readonly expect: readonly (readonly [from: string, to: string, connects: boolean])[];
}

export function connectsIn(probe: NetpolProbe, from: string, to: string): boolean {
  if (from === to) return true;
  return probe.expect.findLast(([f, t]) => matchesPattern(from, f) && matchesPattern(to, t))?.[2] ?? true;
}

function matchesPattern(pod: string, pattern: string): boolean {
  return pattern === "*" || pod === pattern || pod.split("/")[0] === pattern;
}

interface Rules {
  readonly ingress?: readonly object[];
  readonly egress?: readonly object[];
  readonly namespace?: string;
}

const a = { matchLabels: { pod: "a" } };
const b = { matchLabels: { pod: "b" } };
const all = {};
const NAME_LABEL = "kubernetes.io/metadata.name";
const namespace = (name: string) => ({ matchLabels: { [NAME_LABEL]: name } });
const inNamespaces = (operator: string, ...values: string[]) => ({
  matchExpressions: [{ key: NAME_LABEL, operator, values }],
});
const podsIn = (...values: string[]) => ({ matchExpressions: [{ key: "pod", operator: "In", values }] });

let counter = 0;
function policy(podSelector: object, { namespace = "x", ...rules }: Rules): object {
  counter += 1;
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { namespace, name: `policy-${counter}` },
    spec: {
      podSelector,
      policyTypes: [...(rules.ingress ? ["Ingress"] : []), ...(rules.egress ? ["Egress"] : [])],
      ...rules,
    },
  };
}

const probe = (port: number, expect: NetpolProbe["expect"], protocol: Protocol = "TCP"): NetpolProbe => ({
  protocol,
  port,
  expect,
});
const always =
  (...policies: readonly object[]): NetpolStep["policies"] =>
  () =>
    policies;

function kubernetes(
  name: string,
  pods: string,
  ...steps: readonly [NetpolStep["policies"], ...NetpolProbe[]][]
): NetpolCase {
  return {
    name,
    origin: "kubernetes",
    pods: pods.split(" "),
    steps: steps.map(([policies, ...probes]) => ({ policies, probes })),
  };
}

const ours = (...args: Parameters<typeof kubernetes>): NetpolCase => ({
  ...kubernetes(...args),
  origin: "ours",
});

function relabelled(
  name: string,
  pods: string,
  onePolicy: object,
  before: NetpolProbe,
  after: NetpolProbe,
  extraLabels: NonNullable<NetpolStep["extraLabels"]>,
): NetpolCase {
  const policies = always(onePolicy);
  return {
    name,
    origin: "kubernetes",
    pods: pods.split(" "),
    steps: [
      { policies, probes: [before] },
      { policies, extraLabels, probes: [after] },
    ],
  };
}

const open = probe(80, []);
const closed = probe(80, [["*", "x/a", false]]);
const fromUpdatedNamespace = policy(a, {
  ingress: [{ from: [{ namespaceSelector: { matchLabels: { ns2: "updated" } } }] }],
});
const fromUpdatedPod = policy(a, {
  ingress: [{ from: [{ podSelector: { matchLabels: { pod: "b", pod2: "updated" } } }] }],
});
const isolatedByLabel = policy({ matchLabels: { target: "isolated" } }, { ingress: [] });
const denyIngress = policy(all, { ingress: [] });
const denyAll = policy(all, { ingress: [], egress: [] });
const onlyFromB = [
  ["*", "x/a", false],
  ["x/b", "x/a", true],
] as const;
const notFromXOrZ = [
  ["x", "x/a", false],
  ["z", "x/a", false],
] as const;
const onlyFromYA = [
  ["*", "x/a", false],
  ["y/a", "x/a", true],
] as const;

const fromYAOnly = policy(a, {
  ingress: [{ from: [{ namespaceSelector: namespace("y"), podSelector: a }] }],
});
const fromYOn = (port: number, protocol: Protocol = "TCP") =>
  policy(a, { ingress: [{ from: [{ namespaceSelector: namespace("y") }], ports: [{ port, protocol }] }] });

/** These three run once for each protocol there. */
const perProtocol = (["TCP", "UDP", "SCTP"] as const).flatMap((protocol) => [
  kubernetes(`default deny ingress, ${protocol}`, "x/a x/b y/a y/b", [
    always(denyIngress),
    probe(80, [["*", "x", false]], protocol),
  ]),
  kubernetes(`ports, ${protocol}`, "x/a x/b y/a y/b z/a", [
    always(fromYOn(81, protocol)),
    probe(81, notFromXOrZ, protocol),
  ]),
  kubernetes(
    `only from a pod in a different namespace by podSelector and namespaceSelector, ${protocol}`,
    "x/a x/b y/a y/b z/a",
    [always(fromYAOnly), probe(80, onlyFromYA, protocol)],
  ),
]);

export const netpolCases: readonly NetpolCase[] = [
  ...perProtocol,
  kubernetes("default deny all", "x/a x/b y/a", [
    always(denyAll),
    probe(80, [
      ["*", "x", false],
      ["x", "*", false],
    ]),
  ]),
  kubernetes("from pods of the server's namespace by podSelector", "x/a x/b x/c y/a", [
    always(policy(a, { ingress: [{ from: [{ podSelector: b }] }] })),
    probe(80, onlyFromB),
  ]),
  kubernetes("deny all, and ingress for one target", "x/a x/b y/a", [
    always(denyIngress, policy(a, { ingress: [{ from: [{ podSelector: all, namespaceSelector: all }] }] })),
    probe(80, [["*", "x/b", false]]),
  ]),
  kubernetes("from pods in all namespaces", "x/a x/b y/a z/a", [
    always(policy(a, { ingress: [{ from: [{ namespaceSelector: { matchLabels: {} } }] }] })),
    probe(80, []),
  ]),
  kubernetes("only from a different namespace by namespaceSelector", "x/a x/b y/a z/a", [
    always(policy(a, { ingress: [{ from: [{ namespaceSelector: namespace("y") }] }] })),
    probe(80, notFromXOrZ),
  ]),
  kubernetes("podSelector with matchExpressions", "x/a x/b y/a", [
    always(policy(a, { ingress: [{ from: [{ podSelector: podsIn("b") }] }] })),
    probe(80, onlyFromB),
  ]),
  kubernetes("namespaceSelector with matchExpressions", "x/a x/b y/a z/a", [
    always(policy(a, { ingress: [{ from: [{ namespaceSelector: inNamespaces("In", "y") }] }] })),
    probe(80, notFromXOrZ),
  ]),
  kubernetes("podSelector or namespaceSelector", "x/a x/b x/c y/a", [
    always(
      policy(a, {
        ingress: [{ from: [{ namespaceSelector: inNamespaces("NotIn", "x") }, { podSelector: b }] }],
      }),
    ),
    probe(80, [["x/c", "x/a", false]]),
  ]),
  kubernetes("podSelector and namespaceSelector", "x/a x/b y/a y/b z/b", [
    always(
      policy(a, {
        ingress: [{ from: [{ namespaceSelector: inNamespaces("NotIn", "x"), podSelector: b }] }],
      }),
    ),
    probe(80, [
      ["*", "x/a", false],
      ["y/b", "x/a", true],
      ["z/b", "x/a", true],
    ]),
  ]),
  kubernetes("multiple podSelectors and namespaceSelectors", "x/a x/b y/a y/b y/c", [
    always(
      policy(a, {
        ingress: [
          { from: [{ namespaceSelector: inNamespaces("NotIn", "x"), podSelector: podsIn("b", "c") }] },
        ],
      }),
    ),
    probe(80, [
      ["x", "x/a", false],
      ["y/a", "x/a", false],
    ]),
  ]),
  kubernetes("any of several podSelectors", "x/a x/b x/c x/d", [
    always(
      policy(a, {
        ingress: [{ from: [{ podSelector: b }, { podSelector: { matchLabels: { pod: "c" } } }] }],
      }),
    ),
    probe(80, [
      ["*", "x/a", false],
      ["x/b", "x/a", true],
      ["x/c", "x/a", true],
    ]),
  ]),
  kubernetes(
    "stacked policies with overlapping podSelectors",
    "x/a x/b y/a y/b z/a",
    [always(fromYOn(81)), probe(81, notFromXOrZ), probe(80, [["*", "x/a", false]])],
    [always(fromYOn(81), fromYOn(80)), probe(80, notFromXOrZ)],
  ),
  kubernetes("allow all", "x/a x/b y/a", [
    always(policy(all, { ingress: [{}] })),
    probe(80, []),
    probe(81, []),
  ]),
  kubernetes("ingress on one named port", "x/a x/b y/a", [
    always(policy(all, { ingress: [{ ports: [{ port: "serve-81-tcp" }] }] })),
    probe(81, []),
    probe(80, [["*", "x", false]]),
  ]),
  kubernetes("ingress from a namespace on one named port", "x/a x/b y/a z/a", [
    always(
      policy(a, {
        ingress: [
          {
            from: [{ namespaceSelector: namespace("y") }],
            ports: [{ port: "serve-80-tcp", protocol: "TCP" }],
          },
        ],
      }),
    ),
    probe(80, notFromXOrZ),
    probe(81, [["*", "x/a", false]]),
  ]),
  kubernetes("egress on one named port", "x/a x/b y/a", [
    always(policy(all, { egress: [{ ports: [{ port: "serve-80-tcp" }] }] })),
    probe(80, []),
    probe(81, [["x", "*", false]]),
  ]),
  kubernetes(
    "an updated policy",
    "x/a y/a",
    [always(policy(all, { ingress: [{}] })), probe(81, [])],
    [always(policy(all, { ingress: [] })), probe(81, [["*", "x", false]])],
  ),
  relabelled("ingress from an updated namespace", "x/a y/a", fromUpdatedNamespace, closed, open, {
    y: { ns2: "updated" },
  }),
  relabelled("ingress from an updated pod", "x/a x/b", fromUpdatedPod, closed, open, {
    "x/b": { pod2: "updated" },
  }),
  relabelled("ingress to an updated pod", "x/a y/a", isolatedByLabel, open, closed, {
    "x/a": { target: "isolated" },
  }),
  kubernetes("no ingress from other namespaces", "x/a x/b y/a z/a", [
    always(policy(all, { ingress: [{ from: [{ podSelector: { matchLabels: {} } }] }] })),
    probe(80, [
      ["y", "x", false],
      ["z", "x", false],
    ]),
  ]),
  kubernetes("no egress by podSelector", "x/a x/b y/a", [
    always(policy(a, { egress: [] })),
    probe(80, [["x/a", "*", false]]),
  ]),
  kubernetes("no egress from a namespace", "x/a x/b y/a", [
    always(policy(all, { egress: [] })),
    probe(80, [["x", "*", false]]),
  ]),
  kubernetes("ingress and egress together", "x/a x/b x/c y/a", [
    always(policy(a, { ingress: [{ from: [{ podSelector: b }] }], egress: [{ ports: [{ port: 80 }] }] })),
    probe(80, onlyFromB),
    probe(81, [
      ["*", "x/a", false],
      ["x/a", "*", false],
      ["x/b", "x/a", true],
    ]),
  ]),
  kubernetes("egress refused although the server allows it", "x/a y/a y/b", [
    always(
      policy(a, { egress: [{ to: [{ namespaceSelector: namespace("y"), podSelector: a }] }] }),
      policy(a, {
        namespace: "y",
        ingress: [{ from: [{ namespaceSelector: namespace("x"), podSelector: a }] }],
      }),
      policy(b, {
        namespace: "y",
        ingress: [{ from: [{ namespaceSelector: namespace("x"), podSelector: a }] }],
      }),
    ),
    probe(80, [
      ["x/a", "*", false],
      ["*", "y/a", false],
      ["x/a", "y/a", true],
      ["*", "y/b", false],
    ]),
  ]),
  kubernetes("egress to a server in a different namespace", "x/a y/a y/b", [
    always(policy(a, { egress: [{ to: [{ namespaceSelector: namespace("y"), podSelector: a }] }] })),
    probe(80, [
      ["x/a", "*", false],
      ["x/a", "y/a", true],
    ]),
  ]),
  kubernetes("any port of one protocol", "x/a y/a", [
    always(policy(a, { ingress: [{ ports: [{ protocol: "TCP" }] }] })),
    probe(80, []),
    probe(80, [["*", "x/a", false]], "UDP"),
  ]),
  kubernetes(
    "an ingress allow-all beside a narrower policy",
    "x/a y/a",
    [always(policy(all, { ingress: [{ ports: [{ port: 80 }] }] })), probe(81, [["*", "x", false]])],
    [
      always(policy(all, { ingress: [{ ports: [{ port: 80 }] }] }), policy(all, { ingress: [{}] })),
      probe(81, []),
    ],
  ),
  kubernetes(
    "an egress allow-all beside a narrower policy",
    "x/a y/a",
    [always(policy(all, { egress: [{ ports: [{ port: 80 }] }] })), probe(81, [["x", "*", false]])],
    [
      always(policy(all, { egress: [{ ports: [{ port: 80 }] }] }), policy(all, { egress: [{}] })),
      probe(81, []),
    ],
  ),
  kubernetes(
    "deleted policies",
    "x/a y/a",
    [
      always(denyAll),
      probe(80, [
        ["x", "*", false],
        ["*", "x", false],
      ]),
    ],
    [always(), probe(80, [])],
  ),
  kubernetes("egress to a CIDR", "x/a y/a y/b", [
    (addressOf) => [policy(a, { egress: [{ to: [{ ipBlock: { cidr: `${addressOf("y/b")}/32` } }] }] })],
    probe(80, [
      ["x/a", "*", false],
      ["x/a", "y/b", true],
    ]),
  ]),
  kubernetes(
    "egress to a CIDR but for its except",
    "x/a x/b x/c",
    [
      (addressOf) => [
        policy(a, {
          egress: [{ to: [{ ipBlock: { cidr: "0.0.0.0/4", except: [`${addressOf("x/b")}/32`] } }] }],
        }),
      ],
      probe(80, [["x/a", "x/b", false]]),
    ],
    [
      (addressOf) => [
        policy(a, {
          egress: [{ to: [{ ipBlock: { cidr: "0.0.0.0/4", except: [`${addressOf("x/b")}/32`] } }] }],
        }),
        policy(a, { egress: [{ to: [{ ipBlock: { cidr: `${addressOf("x/b")}/32` } }] }] }),
      ],
      probe(80, []),
    ],
  ),
  kubernetes(
    "ingress and egress controlled independently",
    "x/a x/b y/a",
    [always(policy(a, { egress: [{}] })), probe(80, [])],
    [always(policy(a, { egress: [{}] }), policy(a, { ingress: [] })), probe(80, [["*", "x/a", false]])],
  ),
  kubernetes("SCTP is not TCP", "x/a y/a", [
    always(denyIngress, policy(a, { ingress: [{ ports: [{ port: 81, protocol: "SCTP" }] }] })),
    probe(81, [["*", "x", false]]),
  ]),
  kubernetes("a policy that only allows SCTP isolates", "x/a y/a", [
    always(policy(a, { ingress: [{ ports: [{ port: 80, protocol: "SCTP" }] }] })),
    probe(81, [["*", "x/a", false]]),
  ]),
  kubernetes("UDP is not TCP", "x/a y/a", [
    always(policy(a, { ingress: [{ ports: [{ port: 81, protocol: "UDP" }] }] })),
    probe(81, [["*", "x/a", false]]),
    probe(81, [], "UDP"),
  ]),
  kubernetes("the default namespace label with matchLabels", "x/a x/b y/a z/a", [
    always(policy(a, { ingress: [{ from: [{ namespaceSelector: namespace("y") }] }] })),
    probe(80, notFromXOrZ),
  ]),
  kubernetes("the default namespace label with matchExpressions", "x/a x/b y/a z/a", [
    always(policy(a, { egress: [{ to: [{ namespaceSelector: inNamespaces("NotIn", "y") }] }] })),
    probe(80, [["x/a", "y", false]]),
  ]),
  ours("a range of ports", "x/a y/a", [
    always(policy(a, { ingress: [{ ports: [{ port: 70, endPort: 80 }] }] })),
    probe(80, []),
    probe(81, [["*", "x/a", false]]),
  ]),
  ours("matchExpressions Exists and DoesNotExist", "x/a x/b y/a y/b", [
    always(
      policy(
        { matchExpressions: [{ key: "pod", operator: "Exists" }] },
        {
          ingress: [
            { from: [{ podSelector: { matchExpressions: [{ key: "pod", operator: "DoesNotExist" }] } }] },
          ],
        },
      ),
    ),
    probe(80, [["*", "x", false]]),
  ]),
  ours("labels copied by a pod in another namespace", "x/a x/b y/b", [
    always(policy(a, { ingress: [{ from: [{ podSelector: b }] }] })),
    probe(80, [["y", "x/a", false]]),
  ]),
  ours("a policy that is not understood cuts its pods off, whatever others allow", "x/a x/b y/a", [
    always(policy(a, { ingress: [{ fromWhere: [] }] }), policy(all, { ingress: [{}], egress: [{}] })),
    probe(80, [
      ["*", "x/a", false],
      ["x/a", "*", false],
    ]),
  ]),
];
