import { resourceRule, stackRule, type Finding, type Subject } from "../rule.ts";
import { at, listAt, textAt } from "../values.ts";

const namespaceOf = ({ props }: Subject) => textAt(props, "metadata", "namespace") ?? "default";
const isPolicy = ({ type }: Subject) => type === "kubernetes:networking.k8s.io/v1:NetworkPolicy";
const isWorkload = ({ type }: Subject) =>
  /^kubernetes:(apps|batch)\/v1:(Deployment|StatefulSet|DaemonSet|Job|CronJob)$/.test(type);

/** Labels that select MinIO's pods, by the value of `app`. */
const selectsMinio = (selector: unknown, app: string): boolean => {
  const label = at(selector, "matchLabels", "app");
  if (label !== undefined && label !== app) return false;
  return listAt(selector, "matchExpressions")
    .filter((expression) => at(expression, "key") === "app")
    .every((expression) => {
      const isListed = listAt(expression, "values").includes(app);
      return at(expression, "operator") === "In" ? isListed : !isListed;
    });
};

export const defaultDeny = stackRule({
  id: "network-default-deny",
  description:
    "In a namespace with workloads, all connections are denied in both directions unless a policy allows them.",
  why: "Kubernetes lets every pod connect to every other, in other namespaces too, until a policy denies it.",
  source: 'storage-security-notes.txt, "Deny all other pods by default"; CIS Kubernetes 5.3.2',
  remedy: "Declare a NetworkPolicy with an empty podSelector, both policyTypes and no rules.",
  level: "mandatory",
  defaults: {},
  check(subjects) {
    const denied = new Set(subjects.filter(deniesEverything).map(namespaceOf));
    const first = new Map<string, Subject>();
    for (const workload of subjects.filter(isWorkload)) {
      const namespace = namespaceOf(workload);
      if (!denied.has(namespace) && !first.has(namespace)) first.set(namespace, workload);
    }
    return [...first].map(([namespace, subject]): Finding => ({
      subject,
      message: `its namespace ${namespace} has no policy that denies by default`,
    }));
  },
});

function deniesEverything(subject: Subject): boolean {
  if (!isPolicy(subject)) return false;
  const spec = at(subject.props, "spec");
  const selector = at(spec, "podSelector");
  const types = listAt(spec, "policyTypes");
  return (
    typeof selector === "object" &&
    selector !== null &&
    Object.keys(selector).length === 0 &&
    types.includes("Ingress") &&
    types.includes("Egress") &&
    listAt(spec, "ingress").length === 0 &&
    listAt(spec, "egress").length === 0
  );
}

export const minioClosed = resourceRule({
  id: "minio-closed",
  description: "Only the pods that work with MinIO reach it, and only in their own namespace.",
  why: "Known server holes need no more than a connection and a known access key (docs/decisions/0003).",
  source: 'storage-security-notes.txt, "Network Policies"',
  remedy:
    "Let clients go through geocrop-api and geocrop-downloads (components/network/network-policies.ts).",
  level: "mandatory",
  defaults: {
    app: "minio",
    clients: ["geocrop-api", "geocrop-worker", "geocrop-downloads", "minio"],
  },
  check(subject, { app, clients }) {
    if (!isPolicy(subject) || !selectsMinio(at(subject.props, "spec", "podSelector"), app)) return [];
    return listAt(subject.props, "spec", "ingress").flatMap((rule) => {
      const peers = listAt(rule, "from");
      if (peers.length === 0) return ["an ingress rule without a peer allows all connections"];
      return peers.flatMap((peer) => strangers(peer, clients));
    });
  },
});

/** Who a peer lets in besides the clients. */
function strangers(peer: unknown, clients: readonly string[]): string[] {
  if (at(peer, "ipBlock") !== undefined)
    return [`${textAt(peer, "ipBlock", "cidr") ?? "an address block"} may enter`];
  if (at(peer, "namespaceSelector") !== undefined) return ["pods of other namespaces may enter"];
  const label = textAt(peer, "podSelector", "matchLabels", "app");
  const listed = listAt(peer, "podSelector", "matchExpressions")
    .filter((expression) => at(expression, "key") === "app" && at(expression, "operator") === "In")
    .flatMap((expression) => listAt(expression, "values").map(String));
  const apps = label === undefined ? listed : [label];
  if (apps.length === 0) return ["pods of any app may enter"];
  return apps.filter((app) => !clients.includes(app)).map((app) => `pods of app ${app} may enter`);
}

export const minioNotExposed = resourceRule({
  id: "minio-not-exposed",
  description: "MinIO's own Services are inside the cluster only.",
  why: "A NodePort or LoadBalancer passes the download gateway by, and with it what keeps writes out.",
  source: "docs/decisions/0005-download-gateway.md",
  remedy: "Expose geocrop-downloads instead (downloads.expose).",
  level: "mandatory",
  defaults: { app: "minio" },
  check({ type, props }, { app }) {
    if (type !== "kubernetes:core/v1:Service" || at(props, "spec", "selector", "app") !== app) return [];
    const serviceType = textAt(props, "spec", "type") ?? "ClusterIP";
    return [
      ...(serviceType === "ClusterIP" ? [] : [`its type is ${serviceType}`]),
      ...(listAt(props, "spec", "externalIPs").length > 0 ? ["it has externalIPs"] : []),
    ];
  },
});
