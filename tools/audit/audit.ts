import { AppsV1Api, type KubeConfig } from "@kubernetes/client-node";

import { type Entry, parseAnchor, type Verdict } from "../../services/audit-receiver/audit-log-reader.ts";
import { pseudonym } from "../../services/signed-url-api/signing/issuance.ts";
import { type Issue, issueLine, readIssues } from "./audit-issues.ts";
import { runCommand, UsageError } from "../command-line.ts";
import { devCluster, stackNamespace } from "../kube/dev-cluster.ts";
import { execInPod, lineSink } from "../kube/exec.ts";

const usage = `What was done in storage, by whom: the audit trail, out of the receiver's pod. Between its entries, and never
with --bucket: which URLs the API gave to whom, out of its pods' logs, as far back as those are kept.

npm run audit                       every entry
        -- --bucket NAME            of one bucket
        -- --job ID                 of one job's objects
        -- --user NAME              by URLs that the API gave this user (the token's sub), or by this access key
        -- --issuer NAME            whose token it was [what the API is set to]
        -- --since WHEN             not older: 2026-11-24T06:00:00Z, or 30m, 12h, 7d
        -- --json                   one JSON object an entry
npm run audit -- verify-chain       check that nothing was changed or removed; exit code 0 only if so
        -- verify-chain --anchor N:HASH   and that this entry, noted earlier, is still in it
GEOCROP_NAMESPACE names the stack's namespace [geocrop].`;

const pod = "audit-receiver-0";

/** Runs the trail's reader beside the receiver, and hands each line that it prints to `take`. */
export async function readTrail(
  cluster: KubeConfig,
  namespace: string,
  args: readonly string[],
  take: (line: string) => void,
): Promise<void> {
  // The pod's memory is meant for the receiver.
  const command = ["node", "--max-old-space-size=64", "/app/trail.mjs", ...args];
  await execInPod(cluster, { namespace, pod, container: "audit-receiver" }, command, {
    output: lineSink(take),
  });
}

/** `30m`, `12h`, `7d` before now, or a time as it is. @throws UsageError when it is neither */
export function sinceTime(text: string, now: number = Date.now()): string {
  const [, amount, unit] = /^(\d{1,5})([mhd])$/.exec(text) ?? [];
  const minutes = { m: 1, h: 60, d: 24 * 60 };
  if (unit === "m" || unit === "h" || unit === "d") {
    return new Date(now - Number(amount) * minutes[unit] * 60_000).toISOString();
  }
  if (!/^\d{4}-\d\d-\d\d(T[\d:.]+Z)?$/.test(text) || Number.isNaN(Date.parse(text))) {
    throw new UsageError(
      `--since ${text} is not a valid time: write 2026-11-24T06:00:00Z, 2026-11-24, 30m, 12h or 7d`,
    );
  }
  return new Date(text).toISOString();
}

/**
 * An entry for a person to read. A client chose some of it, so nothing in it may steer a terminal.
 *
 * @param names - users by their pseudonyms, as far as they are known
 */
export function entryLine(entry: Entry, names: ReadonlyMap<string, string> = new Map()): string {
  const url = entry.issuance === "" ? "" : ` by ${entry.issuance}`;
  const who =
    entry.subject === ""
      ? entry.accessKey
      : `${entry.accessKey} for ${names.get(entry.subject) ?? entry.subject}${url}`;
  const what = `${entry.bucket}/${entry.object}`.replace(/^\/$|\/$/, "");
  const size = entry.tx > 0 ? ` ${entry.tx} B` : "";
  const line = `${entry.time.slice(0, 19)}Z  ${entry.statusCode || "---"}  ${entry.name}  ${what}  ${who || "nobody"}  from ${entry.remotehost || "inside"}${size}`;
  return line.replaceAll(/\p{C}/gu, "?");
}

/** Whose tokens the API takes, as the deployment says. */
async function tokenIssuer(cluster: KubeConfig, namespace: string): Promise<string> {
  const deployment = await cluster
    .makeApiClient(AppsV1Api)
    .readNamespacedDeployment({ namespace, name: "geocrop-api" });
  const variables = deployment.spec?.template.spec?.containers.flatMap(({ env }) => env ?? []);
  const issuer = variables?.find(({ name }) => name === "JWT_ISSUER")?.value;
  if (issuer === undefined)
    throw new Error(`The API in ${namespace} names no token issuer: give one by --issuer.`);
  return issuer;
}

const options = {
  bucket: { type: "string" },
  job: { type: "string" },
  user: { type: "string" },
  issuer: { type: "string" },
  since: { type: "string" },
  anchor: { type: "string" },
  json: { type: "boolean", default: false },
} as const;

interface Filters {
  readonly bucket?: string | undefined;
  readonly job?: string | undefined;
  readonly user?: string | undefined;
  readonly issuer?: string | undefined;
  readonly since?: string | undefined;
  readonly json: boolean;
}

/** Prints the entries that the filters let through, the issued URLs between them. */
async function printEntries(cluster: KubeConfig, namespace: string, values: Filters): Promise<void> {
  const filters: string[] = [];
  if (values.bucket !== undefined) filters.push("--bucket", values.bucket);
  if (values.job !== undefined) filters.push("--job", values.job);
  if (values.since !== undefined) filters.push("--since", sinceTime(values.since));
  if (values.user !== undefined) {
    const issuer = values.issuer ?? (await tokenIssuer(cluster, namespace));
    filters.push("--user", values.user, "--user", pseudonym(issuer, values.user));
  }
  const issues = await readIssues(cluster, namespace);
  const names = new Map(issues.map(({ pseudonym, subject }) => [pseudonym, subject]));
  const since = values.since === undefined ? "" : sinceTime(values.since);
  const asked = issues.filter(
    ({ jobId, subject, time }) =>
      values.bucket === undefined &&
      jobId === (values.job ?? jobId) &&
      subject === (values.user ?? subject) &&
      time >= since,
  );
  const print = (text: string): void => void process.stdout.write(`${text}\n`);
  const printIssue = (issue: Issue): void =>
    print(values.json ? JSON.stringify({ name: "URL issued", ...issue }) : issueLine(issue));
  await readTrail(cluster, namespace, filters, (line) => {
    const entry: Entry = JSON.parse(line);
    while ((asked[0]?.time ?? "9") <= entry.time) asked.splice(0, 1).forEach(printIssue);
    print(values.json ? line : entryLine(entry, names));
  });
  asked.forEach(printIssue);
}

async function verifyChain(
  cluster: KubeConfig,
  namespace: string,
  anchor: string | undefined,
  json: boolean,
): Promise<number> {
  if (anchor !== undefined) parseAnchor(anchor);
  let answer = "";
  await readTrail(
    cluster,
    namespace,
    ["verify", ...(anchor === undefined ? [] : ["--anchor", anchor])],
    (line) => (answer = line),
  );
  const verdict: Verdict = JSON.parse(answer);
  const { entries, files, first, last, faults } = verdict;
  const told = [
    `${entries} entries in ${files} files, number ${first} to ${last.seq}`,
    ...faults.map((fault) => `FAULT  ${fault}`),
    faults.length === 0 ? `whole; note this elsewhere: --anchor ${last.seq}:${last.hash}` : "not whole",
  ];
  process.stdout.write(`${json ? answer : told.join("\n")}\n`);
  return faults.length === 0 ? 0 : 1;
}

if (import.meta.main) {
  await runCommand({
    name: "audit",
    usage,
    options,
    positionals: { least: 0, most: 1 },
    run: async (values, [command]) => {
      if (command !== undefined && command !== "verify-chain")
        throw new UsageError(`there is no command "${command}"`);
      // Before anything is asked of the cluster.
      if (values.since !== undefined) sinceTime(values.since);
      const cluster = devCluster();
      if (command === "verify-chain")
        return verifyChain(cluster, stackNamespace(), values.anchor, values.json);
      await printEntries(cluster, stackNamespace(), values);
      return 0;
    },
  });
}
