import type { Change, OptionChange } from "./plan.ts";
import { at, isWithin } from "./properties.ts";
import { isKnownType } from "./replacement.ts";
import type { Json, Resource } from "../program/recording.ts";
import { kindOf, liveName } from "./titles.ts";

/** What a change does to a stack that runs and holds data. */
export interface Meaning {
  /** Data that can be lost, or whose guard is taken away. */
  readonly risks: readonly string[];
  /** Pods that end, and what cannot be used meanwhile. */
  readonly interruptions: readonly string[];
  /** What else a reviewer would not guess. */
  readonly notes: readonly string[];
}

type Rule = (change: Change) => string[];

/** Kinds that hold data, or that take what holds it with them. */
const dataKinds = new Set(["Namespace", "PersistentVolumeClaim", "S3Bucket", "StatefulSet"]);

const isGoing = ({ operation }: Change) => operation === "delete" || operation === "replace";
const count = (number: number, noun: string) => `${number} ${noun}${number === 1 ? "" : "s"}`;

const riskRules: Readonly<Record<string, Rule>> = {
  Namespace: (change) =>
    isGoing(change) ? ["everything in the namespace is deleted, the volumes of its claims included"] : [],
  PersistentVolumeClaim: (change) =>
    isGoing(change) ? ["the claim's volume is deleted, unless its reclaim policy is Retain"] : [],
  S3Bucket: (change) => {
    const { before, resource } = change;
    if (isGoing(change))
      return [
        before?.inputs["forceDestroy"] === true
          ? "all its objects are deleted, every version of them"
          : "the bucket is deleted; MinIO refuses while anything is in it, and the update stops there",
      ];
    const isUnguarded = before?.inputs["forceDestroy"] !== true && resource.inputs["forceDestroy"] === true;
    return isUnguarded && before !== undefined
      ? ["forceDestroy: from now on deleting the bucket deletes its objects"]
      : [];
  },
  S3BucketVersioning: ({ operation, before, resource }) => {
    const ends = isVersioned(before) && (operation === "delete" || !isVersioned(resource));
    return ends ? ["versions end: what is overwritten or deleted from now on is gone"] : [];
  },
  IlmPolicy: ({ operation, before, resource }) =>
    operation === "create" ? [] : soonerExpiries(before, operation === "delete" ? undefined : resource),
  StatefulSet: (change) => {
    const { before, resource, operation } = change;
    const claims = listOf(at(before?.inputs, "spec", "volumeClaimTemplates"));
    if (claims.length === 0) return [];
    if (operation === "delete")
      return [
        `its ${count(claims.length, "claim")} a pod stay behind, with the data; nothing serves it any more`,
      ];
    const names = claims.map((claim) => textOf(at(claim, "metadata", "name")));
    const risks: string[] = [];
    if (operation === "replace")
      risks.push(
        `the claims (${names.join(", ")}) stay, and the new pods take them over as they are: a new size or class reaches no claim that exists. Grow those by hand first (kubectl patch pvc; the StorageClass must allow it)`,
      );
    const pods = [replicasOf(before), replicasOf(resource)] as const;
    if (pods[0] !== pods[1] && at(resource.inputs, "metadata", "labels", "app") === "minio")
      risks.push(
        `${pods[0]} → ${pods[1]} pods: MinIO's erasure sets keep the drives that they were made with, so a server of another size does not start on them. Move the data to a new one`,
      );
    else if (pods[1] < pods[0])
      risks.push(`${count(pods[0] - pods[1], "pod")} fewer: what only they hold is served no more`);
    return risks;
  },
};

const isVersioned = (versioning: Resource | undefined) =>
  at(versioning?.inputs, "versioningConfiguration", "status") === "Enabled";

/** Rules of a lifecycle that delete objects earlier than before, or that are new. */
function soonerExpiries(before: Resource | undefined, after: Resource | undefined): string[] {
  const former = expiries(before);
  return [...expiries(after)].flatMap(([rule, days]) => {
    const until = former.get(rule);
    if (until !== undefined && until <= days) return [];
    const what = rule === "noncurrent" ? "versions that are not current" : "objects";
    const instead = until === undefined ? "never" : `after ${count(until, "day")}`;
    return [`${what} are deleted after ${count(days, "day")}, before: ${instead}`];
  });
}

/** Days after which a lifecycle deletes current objects and others; the earliest rule counts. */
function expiries(resource: Resource | undefined): Map<"current" | "noncurrent", number> {
  const found = new Map<"current" | "noncurrent", number>();
  const note = (which: "current" | "noncurrent", days: number) => {
    if (Number.isFinite(days)) found.set(which, Math.min(days, found.get(which) ?? Infinity));
  };
  for (const rule of listOf(resource?.inputs["rules"])) {
    note("current", Number.parseInt(textOf(at(rule, "expiration")), 10));
    note("noncurrent", Number(at(rule, "noncurrentVersionExpirationDays") ?? Number.NaN));
  }
  return found;
}

const interruptionRules: Readonly<Record<string, Rule>> = {
  StatefulSet: workloadInterruption,
  Deployment: workloadInterruption,
  Service: (change) =>
    isGoing(change)
      ? [
          `the name ${liveName(change.resource)} answers nobody until the new Service is there, at a new address`,
        ]
      : [],
  IamUser: (change) =>
    isGoing(change) ? ["the key is refused from then on, and so is every URL that was signed with it"] : [],
};

function workloadInterruption(change: Change): string[] {
  const { before, resource, operation } = change;
  if (before === undefined) return [];
  const pods = podsOf(before);
  if (operation === "delete") return [`${pods} end for good`];
  if (operation === "replace") return [`${pods} end first, then new ones start: no service in between`];
  if (!change.properties.some(({ path }) => isWithin(path, "spec.template"))) return [];
  const replicas = replicasOf(resource);
  if (kindOf(resource) === "Deployment")
    return [
      `${pods} ${replicas === 1 ? "is" : "are"} turned over; a new one is ready before an old one ends`,
    ];
  return [
    replicas > 1 ? `${pods} restart one by one` : `${pods} restarts: no service until it is ready again`,
  ];
}

function podsOf(workload: Resource): string {
  const replicas = replicasOf(workload);
  const name = liveName(workload);
  if (kindOf(workload) === "Deployment")
    return replicas === 1 ? `the pod of ${name}` : `the ${replicas} pods of ${name}`;
  return replicas === 1 ? `${name}-0` : `${name}-0 … ${name}-${replicas - 1}`;
}

const noteRules: Readonly<Record<string, Rule>> = {
  S3Bucket: ({ before, resource }) => {
    const quotas = [before?.inputs["quota"], resource.inputs["quota"]];
    const [former, now] = quotas;
    return typeof former === "number" && typeof now === "number" && now < former
      ? ["a bucket that is fuller than its new quota takes no more writes"]
      : [];
  },
  Secret: ({ operation }) =>
    operation === "update" ? ["pods see the new files within about a minute; none restarts for it"] : [],
  Service: ({ operation, properties }) =>
    operation === "update" && properties.some(({ path }) => isWithin(path, "spec.type"))
      ? ["its outside address changes with its type"]
      : [],
};

/** What a change means. */
export function meaningOf(change: Change): Meaning {
  const kind = kindOf(change.resource);
  const told = (rules: Readonly<Record<string, Rule>>) => rules[kind]?.(change) ?? [];
  const notes = told(noteRules);
  if (isGoing(change) && change.before?.protect === true)
    notes.unshift(
      "it is protected: the update is refused until protect is off (config protectData, or pulumi state unprotect)",
    );
  if (change.operation === "update" && !isKnownType(change.resource.type))
    notes.push("what this type cannot change in place is not known here: it may be replaced");
  return { risks: told(riskRules), interruptions: told(interruptionRules), notes };
}

/** A guard that is taken from what holds data; undefined for all other options. */
export function optionRisk({ option, resource, after }: OptionChange): string | undefined {
  return option === "protect" && after === false && dataKinds.has(kindOf(resource))
    ? "no longer protected: an update or destroy may delete it"
    : undefined;
}

function listOf(value: Json | undefined): Json[] {
  return Array.isArray(value) ? value : [];
}

const textOf = (value: Json | undefined): string => (typeof value === "string" ? value : "?");

function replicasOf(workload: Resource | undefined): number {
  const replicas = at(workload?.inputs, "spec", "replicas");
  return typeof replicas === "number" ? replicas : 1;
}
