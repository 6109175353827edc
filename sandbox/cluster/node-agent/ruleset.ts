import { type Block, type ClusterView, type Decision, type Permit, decisionsFor } from "./decisions.ts";

/** The name of the agent's nftables tables (families ip and ip6). Nothing else is touched. */
export const tableName = "geocrop-sandbox-netpol";

/** In characters; nftables refuses longer ones. */
const maxCommentLength = 120;

export interface RulesetInput extends ClusterView {
  /** The bridge that all pods hang on. */
  readonly bridge: string;
}

/**
 * The complete ruleset, as one transaction that replaces the one before.
 *
 * Where it looks: the forward hook (pod to pod, even on the same bridge, with `bridge-nf-call-iptables`; pod to
 * outside; outside to pod) and the input hook (pod to node). What the node itself sends to its pods leaves by the
 * output hook and is never filtered, which is what kubelet's probes need and what the API promises; no list of node
 * addresses is needed for that. kube-proxy resolves Services in prerouting, so pod addresses are seen here, and
 * masquerades in postrouting, so a NodePort client from outside still has its own address here, although the pod
 * will see the node's.
 *
 * Both hooks run before kube-proxy's (priority -10 against 0), and what is dropped here stays dropped.
 */
export function rulesetFor(input: RulesetInput): string {
  return renderRuleset(decisionsFor(input), input.bridge);
}

/** @throws if the bridge's name could not be one. */
export function renderRuleset(decisions: readonly Decision[], bridge: string): string {
  if (!/^[a-zA-Z0-9_.-]{1,15}$/.test(bridge)) throw new Error(`not an interface name: ${bridge}`);
  const leaving = chainsFor(decisions, "egress");
  const entering = chainsFor(decisions, "ingress");
  // A reply belongs to a connection that was judged when it began. The other direction is judged packet by packet,
  // so that a new policy also ends connections which it would not have let begin.
  const replies = ["ct direction reply accept", "ct state related accept"];
  const tables = [
    // Every interface has a link-local IPv6 address, which would go around the ip table.
    block(`table ip6 ${tableName}`, [
      block("chain forward", [
        "type filter hook forward priority -10; policy accept;",
        `iifname "${bridge}" counter drop`,
        `oifname "${bridge}" counter drop`,
      ]),
      block("chain input", [
        "type filter hook input priority -10; policy accept;",
        `iifname "${bridge}" counter drop`,
      ]),
    ]),
    block(`table ip ${tableName}`, [
      block("set pods", [
        "type ipv4_addr",
        ...(decisions.length > 0 ? [`elements = ${set(decisions.map(({ pod }) => pod.address))}`] : []),
      ]),
      ...leaving.chains,
      ...entering.chains,
      block("chain leaving", leaving.dispatch),
      block("chain entering", entering.dispatch),
      block("chain forward", [
        "type filter hook forward priority -10; policy accept;",
        ...replies,
        // An address not known yet could belong to a pod that a policy isolates.
        `iifname "${bridge}" ip saddr != @pods counter drop`,
        `oifname "${bridge}" ip daddr != @pods counter drop`,
        `iifname "${bridge}" jump leaving`,
        `oifname "${bridge}" jump entering`,
      ]),
      block("chain input", [
        "type filter hook input priority -10; policy accept;",
        ...replies,
        `iifname "${bridge}" ip saddr != @pods counter drop`,
        `iifname "${bridge}" jump leaving`,
      ]),
    ]),
  ];
  // `add` first, because deleting a table that is not there would fail the transaction.
  const reset = ["ip", "ip6"].flatMap((family) => [
    `add table ${family} ${tableName}`,
    `delete table ${family} ${tableName}`,
  ]);
  return `${[...reset, ...tables].join("\n")}\n`;
}

function chainsFor(
  decisions: readonly Decision[],
  direction: "ingress" | "egress",
): { chains: string[]; dispatch: string[] } {
  const [own, peer] = direction === "egress" ? ["saddr", "daddr"] : ["daddr", "saddr"];
  const chains: string[] = [];
  const jumps: string[] = [];
  for (const decision of decisions) {
    const permits = decision[direction];
    if (permits === "all") continue;
    const { address, namespace, name } = decision.pod;
    const chain = `${direction}/${address}`;
    jumps.push(`${address} : jump ${chain}`);
    chains.push(
      block(`chain ${chain}`, [
        `comment "${`${namespace}/${name}`.slice(0, maxCommentLength)}"`,
        `ip ${peer} ${address} return`,
        ...permits.flatMap((permit) => permitRules(permit, `ip ${peer}`)),
        "counter drop",
      ]),
    );
  }
  return { chains, dispatch: jumps.length > 0 ? [`ip ${own} vmap ${set(jumps)}`] : [] };
}

/** `return`, not `accept`: the other end's chain still has its say. */
function permitRules({ peers, ports }: Permit, field: string): string[] {
  const peerMatches = peers === "any" ? [""] : blockMatches(peers, field);
  const portMatches =
    ports === "any"
      ? [""]
      : ports.map(({ protocol, first, last }) => {
          const name = protocol.toLowerCase();
          if (first === 0 && last === 65535) return `meta l4proto ${name} `;
          return `${name} dport ${first === last ? first : `${first}-${last}`} `;
        });
  return peerMatches.flatMap((peer) => portMatches.map((port) => `${peer}${port}return`));
}

function blockMatches(blocks: readonly Block[], field: string): string[] {
  const hosts = [...new Set(blocks.filter(isHost).map(({ cidr }) => cidr.slice(0, -"/32".length)))];
  return [
    ...(hosts.length > 0 ? [`${field} ${set(hosts)} `] : []),
    ...blocks
      .filter((candidate) => !isHost(candidate))
      .map(({ cidr, except }) =>
        [cidr, ...except.map((e) => `!= ${e}`)].map((m) => `${field} ${m} `).join(""),
      ),
  ];
}

function isHost({ cidr, except }: Block): boolean {
  return cidr.endsWith("/32") && except.length === 0;
}

function set(elements: readonly string[]): string {
  return `{ ${elements.join(", ")} }`;
}

function block(head: string, lines: readonly string[]): string {
  const body = lines.flatMap((line) => line.split("\n")).map((line) => `  ${line}`);
  return [`${head} {`, ...body, "}"].join("\n");
}
