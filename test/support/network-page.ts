import {
  isOpen,
  allowedFlows,
  parties,
  partyNames,
  ports,
  type PartyName,
} from "../../components/network/network-paths.ts";

/** docs/network.md, from the truth table that the policies are tested by. */
export function networkPage(): string {
  return `# Who reaches whom

Written by \`test/unit/components/network/network-policies.test.ts\` from \`components/network/network-paths.ts\`; to write it anew:
\`npx vitest run --project unit network-policies -u\`. The same table is tried on the policies' meaning there, with real
pods on the sandbox by \`test/e2e/network.test.ts\`, and on a live deployment by \`npm run verify\`.

Rows call, columns are called. A number is an open TCP port (53 by UDP too), "·" is closed, and a blank is what the
stack has no say in. Numbers in brackets depend on a setting, below. A cluster whose CNI plugin does not enforce
NetworkPolicies leaves everything open: \`npm run verify\` says so.

${table([["calls \\\\ called", ...partyNames], ...partyNames.map((from) => [from, ...partyNames.map((to) => cell(from, to))])])}

${table([["name", "who"], ...partyNames.map((name) => [name, parties[name].title])])}

## Why each way is open

${table([
  ["from", "to", "port", "when", "why"],
  ...allowedFlows.map(({ from, to, port, when, why }) => [
    from.join(", "),
    to.join(", "),
    String(port),
    when?.title ?? "always",
    why,
  ]),
])}

## What no policy can close

Connections from a node to pods on that node: the kubelet's probes come this way, so most CNI plugins let them through
whatever the policies say. Who can run pods with the host's network, or log in on a node, is past this fence: TLS, keys
and bucket policies still hold. \`npm run verify\` tells what your cluster does.
`;
}

function cell(from: PartyName, to: PartyName): string {
  if (from === to || (parties[from].place !== "stack" && parties[to].place !== "stack")) return "";
  const open = ports.flatMap((port) => {
    if (isOpen({ minioReplicas: 1, fetchesTokenKeys: false }, from, to, port)) return [String(port)];
    const all = { minioReplicas: 4, fetchesTokenKeys: true, forwardPort: 443, monitoring: "monitoring" };
    return isOpen(all, from, to, port) ? [`(${port})`] : [];
  });
  return open.join(", ") || "·";
}

/** A table as the formatter leaves it: every column as wide as its widest cell. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? "").length), 3),
  );
  const line = (cells: readonly string[], fill = " ") =>
    `| ${widths.map((width, column) => (cells[column] ?? "").padEnd(width, fill)).join(" | ")} |`;
  const [head = [], ...body] = rows;
  return [line(head), line([], "-"), ...body.map((row) => line(row))].join("\n");
}
