import type { V1Namespace, V1StatefulSet } from "@kubernetes/client-node";
import type * as pulumi from "@pulumi/pulumi";

import { certificateFiles, projectName, servers, tlsSecretName } from "../config/names.ts";
import { bytesOf } from "../config/quantity.ts";
import type { Settings } from "../config/schema.ts";
import { clusterSettings, kubernetesClient, loadCluster } from "./kubernetes/stack-cluster.ts";

/**
 * The settings that a running stack cannot take a change of in every case. They are kept in the state as the stack
 * component's inputs, so that the engine calls `checkRunningStack` when one of them changes, and never without need.
 */
export function guardedSettings({ minio, audit, tls }: Settings) {
  return {
    minio: { replicas: minio.replicas, storage: minio.storage, storageClass: minio.storageClass },
    audit: { storage: audit.storage, queueStorage: audit.queueStorage, storageClass: audit.storageClass },
    tls: { issuer: tls.issuer },
  };
}

/** What the cluster has of a stack. */
export interface RunningStack {
  readonly minio: V1StatefulSet | undefined;
  readonly auditReceiver: V1StatefulSet | undefined;
  /** The keys of each server's `<server>-tls` Secret; undefined where the Secret is missing. */
  readonly certificates: ReadonlyMap<string, readonly string[] | undefined>;
}

/**
 * Refuses what would be half-done: Kubernetes changes no claim template of a StatefulSet, so it would be replaced and
 * its volumes would stay as they are; MinIO takes no other number of drives; and a pod waits for ever for a Secret
 * that is missing.
 *
 * @returns a hook for the stack component. It throws an Error that names each setting, its value and the remedy.
 */
export function checkRunningStack(settings: Settings): pulumi.ResourceHookFunction {
  const cluster = clusterSettings();
  return async () => {
    const refused = impossibleChanges(settings, await readRunningStack(cluster, settings));
    if (refused.length > 0) {
      throw new Error(`Nothing was changed, since the running stack cannot take it:\n${refused.join("\n")}`);
    }
  };
}

/**
 * Refuses a namespace that is there already and that no interrupted `pulumi up` of this stack has left: the stack's
 * objects would take the place of others of their names, and `pulumi destroy` would delete the namespace with all in it.
 *
 * @returns a hook for the Namespace's creation. It throws an Error that says how to deploy into it all the same.
 */
export function checkNamespace(
  { namespace, adopt }: Settings,
  labels: Readonly<Record<string, string>>,
): pulumi.ResourceHookFunction {
  const cluster = clusterSettings();
  return async () => {
    if (adopt) return;
    const present = await readNamespace(cluster, namespace);
    if (present === undefined || isOurs(present, labels)) return;
    throw new Error(
      `Nothing was changed, since ${projectName}:namespace = "${namespace}" is there already: choose another name, or set ${projectName}:adopt to true to deploy into it`,
    );
  };
}

/** Whether Pulumi made a namespace with just this stack's labels, as one that an interrupted run has left. */
export function isOurs({ metadata }: V1Namespace, labels: Readonly<Record<string, string>>): boolean {
  const byPulumi = metadata?.managedFields?.some(({ manager }) => manager?.startsWith("pulumi-kubernetes"));
  return (
    byPulumi === true && Object.entries(labels).every(([key, value]) => metadata?.labels?.[key] === value)
  );
}

/** The changes that the running stack cannot take, each in a line. */
export function impossibleChanges(settings: Settings, running: RunningStack): string[] {
  return [
    ...replicaChanges(settings, running),
    ...volumesOf(settings, running).flatMap((volume) => volumeChanges(settings.namespace, volume)),
    ...missingCertificates(settings, running),
  ];
}

function refusal(key: string, value: string | number | undefined, message: string): string {
  return `  - ${projectName}:${key}${value === undefined ? "" : ` = ${JSON.stringify(value)}`}: ${message}`;
}

function replicaChanges({ minio: { replicas } }: Settings, { minio }: RunningStack): string[] {
  const deployed = minio?.spec?.replicas;
  if (deployed === undefined || deployed === replicas) return [];
  return [
    refusal(
      "minio.replicas",
      replicas,
      `MinIO runs on ${deployed} and cannot change its number of drives in place: set it back to ${deployed}, or deploy a second stack and copy the buckets over (mc mirror)`,
    ),
  ];
}

/** The volumes of one claim template, as configured and as deployed. */
interface Volumes {
  readonly statefulSet: string;
  readonly deployed: V1StatefulSet | undefined;
  readonly claim: string;
  readonly size: { readonly key: string; readonly value: string };
  readonly storageClass: { readonly key: string; readonly value: string | undefined };
}

function volumesOf({ minio, audit }: Settings, running: RunningStack): readonly Volumes[] {
  const auditClass = { key: "audit.storageClass", value: audit.storageClass };
  return [
    {
      statefulSet: servers.minio.name,
      deployed: running.minio,
      claim: "data",
      size: { key: "minio.storage", value: minio.storage },
      storageClass: { key: "minio.storageClass", value: minio.storageClass },
    },
    {
      statefulSet: servers.minio.name,
      deployed: running.minio,
      claim: "audit-queue",
      size: { key: "audit.queueStorage", value: audit.queueStorage },
      storageClass: auditClass,
    },
    {
      statefulSet: servers.auditReceiver.name,
      deployed: running.auditReceiver,
      claim: "trail",
      size: { key: "audit.storage", value: audit.storage },
      storageClass: auditClass,
    },
  ];
}

function volumeChanges(namespace: string, volumes: Volumes): string[] {
  const { statefulSet, deployed, claim, size, storageClass } = volumes;
  const template = deployed?.spec?.volumeClaimTemplates?.find(({ metadata }) => metadata?.name === claim);
  if (template === undefined) return [];
  const otherwise = `or resize or replace the claims ${claim}-${statefulSet}-<n> by hand, then run \`kubectl -n ${namespace} delete statefulset ${statefulSet} --cascade=orphan\` and \`pulumi up --refresh --run-program\``;
  const changes: string[] = [];
  const deployedSize = template.spec?.resources?.requests?.["storage"];
  if (deployedSize !== undefined && !sameSize(deployedSize, size.value)) {
    changes.push(
      refusal(
        size.key,
        size.value,
        `the volumes were made with ${deployedSize}, and a StatefulSet's cannot be changed in place: set it back to ${deployedSize}; ${otherwise}`,
      ),
    );
  }
  const deployedClass = template.spec?.storageClassName;
  if (deployedClass !== storageClass.value) {
    const remedy = deployedClass === undefined ? "remove the key" : `set it back to ${deployedClass}`;
    changes.push(
      refusal(
        storageClass.key,
        storageClass.value,
        `the volumes are of ${deployedClass ?? "the cluster's default class"}, and a volume's class cannot be changed in place: ${remedy}; ${otherwise}`,
      ),
    );
  }
  return changes;
}

function missingCertificates({ namespace, tls }: Settings, { certificates }: RunningStack): string[] {
  if (tls.issuer !== "existing-secret") return [];
  const needed = Object.values(certificateFiles);
  return [...certificates].flatMap(([server, keys]) => {
    const missing = needed.filter((key) => keys?.includes(key) !== true);
    if (missing.length === 0) return [];
    const secret = `Secret ${namespace}/${tlsSecretName(server)}`;
    const what = keys === undefined ? `${secret} is missing` : `${secret} has no ${missing.join(", ")}`;
    return [refusal("tls.issuer", tls.issuer, `${what}: create it with ${needed.join(", ")} first`)];
  });
}

/** Kubernetes writes 1024Mi back as 1Gi. */
function sameSize(one: string, other: string): boolean {
  try {
    return bytesOf(one) === bytesOf(other);
  } catch {
    return one === other;
  }
}

async function readRunningStack(
  settings: ReturnType<typeof clusterSettings>,
  { namespace, tls }: Settings,
): Promise<RunningStack> {
  const { AppsV1Api, CoreV1Api } = await kubernetesClient();
  const cluster = await loadCluster(settings);
  const workloads = cluster.makeApiClient(AppsV1Api);
  const objects = cluster.makeApiClient(CoreV1Api);
  const [minio, auditReceiver] = await Promise.all(
    [servers.minio.name, servers.auditReceiver.name].map((name) =>
      ifPresent(workloads.readNamespacedStatefulSet({ namespace, name })),
    ),
  );
  const certificates = new Map<string, readonly string[] | undefined>();
  if (tls.issuer === "existing-secret") {
    for (const { name } of Object.values(servers)) {
      const secret = await ifPresent(objects.readNamespacedSecret({ namespace, name: tlsSecretName(name) }));
      certificates.set(name, secret === undefined ? undefined : Object.keys(secret.data ?? {}));
    }
  }
  return { minio, auditReceiver, certificates };
}

/** The namespace, where it is there and can be read; why it cannot, the Kubernetes provider says better. */
async function readNamespace(
  settings: ReturnType<typeof clusterSettings>,
  name: string,
): Promise<V1Namespace | undefined> {
  try {
    const { CoreV1Api } = await kubernetesClient();
    return await (await loadCluster(settings)).makeApiClient(CoreV1Api).readNamespace({ name });
  } catch {
    return undefined;
  }
}

async function ifPresent<T>(request: Promise<T>): Promise<T | undefined> {
  const { ApiException } = await kubernetesClient();
  try {
    return await request;
  } catch (error) {
    if (error instanceof ApiException && error.code === 404) return undefined;
    throw error;
  }
}
