import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import type { KubeConfig } from "@kubernetes/client-node";
import { readNamespace, readPod } from "./cluster-objects.ts";
import { type ClusterView, type Decision, decisionsFor } from "./decisions.ts";
import type { Log } from "./log.ts";
import { readNetworkPolicy } from "./network-policy.ts";
import { reconcileLoop } from "./reconcile-loop.ts";
import { tableName, renderRuleset } from "./ruleset.ts";
import { watchList } from "./watched-list.ts";

/** Bridged packets pass the ip and ip6 hooks only with these (one set for each network namespace). */
const bridgeSettings = ["call-iptables", "call-ip6tables", "filter-vlan-tagged"];

/**
 * Keeps the node's nftables in step with the cluster's pods, namespaces and network policies. Until it knows all
 * three it cuts all pods off, unless an earlier agent's rules are still there. Nothing removes the rules when the
 * agent ends: they stay as they are.
 *
 * @throws if it can't write the first ruleset.
 */
export async function startEnforcer(kubeConfig: KubeConfig, bridge: string, log: Log): Promise<void> {
  await filterBridgedPackets();
  if (!(await rulesExist())) {
    await applyRuleset(renderRuleset([], bridge));
    log("policy: no rules yet, all pods are cut off until the cluster is read");
  }

  let applied = "";
  let noted = "";
  const loop = reconcileLoop("policy", () => reconcile(), log);
  const watch = (path: string) => watchList(kubeConfig, path, () => loop.trigger(), log);
  const pods = watch("/api/v1/pods");
  const namespaces = watch("/api/v1/namespaces");
  const policies = watch("/apis/networking.k8s.io/v1/networkpolicies");

  const reconcile = async (): Promise<void> => {
    if (![pods, namespaces, policies].every((list) => list.synced())) return;
    const view: ClusterView = {
      pods: pods.objects().flatMap((raw) => readPod(raw) ?? []),
      namespaces: namespaces.objects().map(readNamespace),
      policies: policies.objects().map(readNetworkPolicy),
    };
    const decisions = decisionsFor(view);
    const ruleset = renderRuleset(decisions, bridge);
    // Applied even if it is what it was: somebody may have changed the kernel's state.
    await filterBridgedPackets();
    await applyRuleset(ruleset);
    const notes = notesOn(view, decisions).join("; ");
    if (notes !== noted && notes !== "") log(`policy: ${notes}`);
    if (ruleset !== applied) log(`policy: applied, ${summaryOf(view, decisions)}`);
    noted = notes;
    applied = ruleset;
  };
}

/**
 * Hands the ruleset to the kernel, all of it or nothing.
 *
 * @throws with nft's words if it is refused.
 */
export async function applyRuleset(ruleset: string): Promise<void> {
  const nft = spawn("nft", ["-f", "-"], { stdio: ["pipe", "ignore", "pipe"] });
  let complaint = "";
  nft.stderr.on("data", (chunk: Buffer) => (complaint += chunk.toString()));
  // Without a listener a refusal before all was read (EPIPE) would end the agent; the exit code tells it as well.
  nft.stdin.on("error", () => undefined);
  nft.stdin.end(ruleset);
  const [code] = await once(nft, "close");
  if (code !== 0) throw new Error(`nft refused the ruleset: ${complaint.slice(0, 500)}`);
}

async function rulesExist(): Promise<boolean> {
  const { stdout } = await promisify(execFile)("nft", ["list", "tables", "ip"]);
  return stdout.split("\n").includes(`table ip ${tableName}`);
}

async function filterBridgedPackets(): Promise<void> {
  for (const name of bridgeSettings) {
    const file = `/proc/sys/net/bridge/bridge-nf-${name}`;
    if ((await readFile(file, "utf8")).trim() !== "1") await writeFile(file, "1");
  }
}

function notesOn({ pods, policies }: ClusterView, decisions: readonly Decision[]): string[] {
  const decided = new Set(decisions.map(({ pod }) => `${pod.namespace}/${pod.name}`));
  const faults = policies.flatMap(({ namespace, name, fault }) =>
    fault === undefined ? [] : [`${namespace}/${name} is not understood, its pods are cut off: ${fault}`],
  );
  const undecided = pods
    .filter(({ namespace, name }) => !decided.has(`${namespace}/${name}`))
    .map(
      ({ namespace, name, address }) => `${namespace}/${name} (${address}) is cut off: address or namespace`,
    );
  return [...faults, ...undecided];
}

function summaryOf({ policies }: ClusterView, decisions: readonly Decision[]): string {
  const isolated = decisions.filter(({ ingress, egress }) => ingress !== "all" || egress !== "all");
  return `${decisions.length} pods, ${isolated.length} isolated, ${policies.length} policies`;
}
