import { resourceRule, type Subject } from "../rule.ts";
import { asList, at, listAt, parseJson, textAt } from "../values.ts";

const outdatedTls = new Set(["SSLv2", "SSLv3", "TLSv1", "TLSv1.1"]);

export const tlsFloor = resourceRule({
  id: "tls-floor",
  description: "Connections use TLS 1.2 or later, and check the certificate.",
  why: "Signed URLs and keys in the clear, or under TLS 1.1, can be read on the network and used until they expire.",
  source: 'storage-security-notes.txt, "Use TLS"; RFC 8996',
  remedy: "Write ssl_protocols TLSv1.2 TLSv1.3, https:// addresses, and leave certificate checks on.",
  level: "mandatory",
  defaults: {},
  check(subject) {
    const { type, props } = subject;
    if (type === "pulumi:providers:minio") {
      return [
        ...(isOn(at(props, "minioSsl")) ? [] : ["minioSsl is not on"]),
        ...(isOn(at(props, "minioInsecure")) ? ["minioInsecure is on"] : []),
      ];
    }
    if (type === "kubernetes:core/v1:ConfigMap") return nginxProblems(textAt(props, "data", "nginx.conf"));
    return environmentOf(subject)
      .filter(([, value]) => value.startsWith("http://"))
      .map(([name]) => `${name} is an address without TLS`);
  },
});

/** Providers take their settings as text. */
const isOn = (value: unknown) => value === true || value === "true";

function nginxProblems(config: string | undefined): string[] {
  if (config === undefined) return [];
  const protocols = [...config.matchAll(/^\s*(?:proxy_)?ssl_protocols\s+([^;]+);/gm)].map(
    ([, list = ""]) => list,
  );
  const outdated = protocols.flatMap((list) => list.split(/\s+/)).filter((name) => outdatedTls.has(name));
  return [
    ...(protocols.length === 0 ? ["nginx.conf sets no ssl_protocols"] : []),
    ...outdated.map((name) => `nginx.conf accepts ${name}`),
    ...(/^\s*proxy_ssl_verify\s+off;/m.test(config)
      ? ["nginx.conf does not check the upstream's certificate"]
      : []),
  ];
}

export const expiryBounds = resourceRule({
  id: "url-expiry-bounds",
  description: "Signed URLs live 15 to 60 minutes, and the signer's policy refuses older ones.",
  why: "Whoever has a signed URL can use it; the server's own limit of seven days is far too long.",
  source: 'storage-security-notes.txt, "Future: Signed URL Workflow"',
  remedy:
    "Keep api.urlExpirySeconds and s3:signatureAge within the bounds (components/access/iam-policies.ts).",
  level: "mandatory",
  defaults: { leastSeconds: 900, mostSeconds: 3600, signer: "geocrop-api-signer" },
  check(subject, { leastSeconds, mostSeconds, signer }) {
    const seconds = environmentOf(subject).find(([name]) => name === "URL_EXPIRY_SECONDS")?.[1];
    if (seconds !== undefined && !(Number(seconds) >= leastSeconds && Number(seconds) <= mostSeconds))
      return [`URL_EXPIRY_SECONDS is ${seconds}, not ${leastSeconds} to ${mostSeconds}`];
    if (subject.type !== policyType || at(subject.props, "name") !== signer) return [];
    const ages = statementsOf(subject)
      .filter((statement) => at(statement, "Effect") === "Deny")
      .map((statement) => Number(at(statement, "Condition", "NumericGreaterThan", "s3:signatureAge")));
    return ages.some((age) => age <= mostSeconds * 1000)
      ? []
      : [`its policy does not refuse signatures older than ${mostSeconds} s`];
  },
});

const policyType = "minio:index/iamPolicy:IamPolicy";
const statementsOf = ({ props }: Subject) => listAt(parseJson(textAt(props, "policy")), "Statement");

export const iamNoWildcard = resourceRule({
  id: "iam-no-wildcard",
  description: "Identities are granted actions one by one, on resources that are named.",
  why: "A wildcard also grants what the next release adds, and more than was meant: s3:* includes deleting buckets.",
  source: 'storage-security-notes.txt, "Least Privilege"',
  remedy: "List the actions and the buckets (components/access/iam-policies.ts).",
  level: "mandatory",
  // The provisioner makes users and policies, so that no list of buckets would bind it.
  defaults: {
    actionsOnAll: ["s3:ListAllMyBuckets", "s3:GetBucketLocation"],
    everyBucket: ["geocrop-provisioner"],
  },
  check(subject, { actionsOnAll, everyBucket }) {
    if (subject.type !== policyType) return [];
    const statements = statementsOf(subject);
    if (statements.length === 0) return ["its policy is no JSON document with statements"];
    const isBound = !everyBucket.includes(textAt(subject.props, "name") ?? "");
    const grants = statements.filter((statement) => at(statement, "Effect") === "Allow");
    return [
      ...grants.flatMap(wildcardActions),
      ...(isBound ? grants.flatMap((grant) => beyondNamedBuckets(grant, actionsOnAll)) : []),
    ];
  },
});

const labelOf = (statement: unknown) => `statement ${textAt(statement, "Sid") ?? "?"}`;

function wildcardActions(statement: unknown): string[] {
  const actions = asList(at(statement, "Action")).map(String);
  return [
    ...actions
      .filter((action) => action.includes("*"))
      .map((action) => `${labelOf(statement)} allows ${action}`),
    ...(at(statement, "NotAction") === undefined
      ? []
      : [`${labelOf(statement)} allows all but what it lists`]),
  ];
}

function beyondNamedBuckets(statement: unknown, actionsOnAll: readonly string[]): string[] {
  const resources = asList(at(statement, "Resource")).map(String);
  if (!resources.some((resource) => /^(\*|arn:aws:s3:::\*)/.test(resource))) return [];
  const isAllowed = asList(at(statement, "Action")).every((action) => actionsOnAll.includes(String(action)));
  return isAllowed ? [] : [`${labelOf(statement)} is for every bucket`];
}

/** A workload's environment, those of its variables that have a plain value. */
function environmentOf({ type, props }: Subject): [name: string, value: string][] {
  if (!/^kubernetes:(apps|batch)\/v1:/.test(type)) return [];
  return listAt(props, "spec", "template", "spec", "containers")
    .flatMap((container) => listAt(container, "env"))
    .flatMap((variable): [string, string][] => {
      const name = textAt(variable, "name");
      const value = textAt(variable, "value");
      return name === undefined || value === undefined ? [] : [[name, value]];
    });
}
