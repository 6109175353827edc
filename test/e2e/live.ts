import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import { ApiException, AppsV1Api, CoreV1Api, KubeConfig, NetworkingV1Api } from "@kubernetes/client-node";

import { readSecretValue } from "../../tools/kube/dev-cluster.ts";
import { execInPod } from "../../tools/kube/exec.ts";
import { layout, run } from "./stacks.ts";

/** The sandbox's cluster, once it is up. */
export function sandboxCluster(): KubeConfig {
  const cluster = new KubeConfig();
  cluster.loadFromFile(layout.kubeconfig);
  return cluster;
}

/** Every object that the stack has in its namespace, with the version that any change to it changes. */
export async function objectVersions(namespace: string): Promise<Record<string, string>> {
  const cluster = sandboxCluster();
  const core = cluster.makeApiClient(CoreV1Api);
  const apps = cluster.makeApiClient(AppsV1Api);
  const lists = await Promise.all([
    core.listNamespacedSecret({ namespace }),
    core.listNamespacedConfigMap({ namespace }),
    core.listNamespacedService({ namespace }),
    core.listNamespacedServiceAccount({ namespace }),
    core.listNamespacedPersistentVolumeClaim({ namespace }),
    apps.listNamespacedStatefulSet({ namespace }),
    apps.listNamespacedDeployment({ namespace }),
    cluster.makeApiClient(NetworkingV1Api).listNamespacedNetworkPolicy({ namespace }),
  ]);
  return Object.fromEntries(
    lists.flatMap(({ kind, items }) =>
      items.map(({ metadata }) => [`${kind} ${metadata?.name}`, metadata?.resourceVersion ?? ""]),
    ),
  );
}

export async function namespaceExists(name: string): Promise<boolean> {
  try {
    await sandboxCluster().makeApiClient(CoreV1Api).readNamespace({ name });
    return true;
  } catch (error) {
    if (error instanceof ApiException && error.code === 404) return false;
    throw error;
  }
}

/**
 * Deletes namespaces with all that is in them, at once. Pods go first and without their time to end: a namespace with
 * a pod that takes its time is looked at again only after half of what it may take.
 */
export async function removeNamespaces(...names: readonly string[]): Promise<void> {
  const core = sandboxCluster().makeApiClient(CoreV1Api);
  const apps = sandboxCluster().makeApiClient(AppsV1Api);
  for (const namespace of names) {
    if (!(await namespaceExists(namespace))) continue;
    await apps.deleteCollectionNamespacedDeployment({ namespace });
    await apps.deleteCollectionNamespacedStatefulSet({ namespace });
    await core.deleteCollectionNamespacedPod({ namespace, gracePeriodSeconds: 0 });
    await core.deleteNamespace({ name: namespace });
  }
  for (const name of names) while (await namespaceExists(name)) await pause(250);
}

/** Runs a command in a pod and hands back what it printed. @throws Error when it fails. */
export async function inPod(
  namespace: string,
  pod: string,
  container: string,
  command: string[],
): Promise<string> {
  return execInPod(sandboxCluster(), { namespace, pod, container }, command);
}

/** Runs `mc` as root on a stack's MinIO, through a port-forward, and hands back its JSON lines. */
export async function mc(
  client: string,
  namespace: string,
  address: string,
  args: readonly string[],
): Promise<Record<string, unknown>[]> {
  const config = await readSecretValue(sandboxCluster(), namespace, "minio-config", "config.env");
  const value = (name: string): string => new RegExp(`^export ${name}="(.*)"$`, "m").exec(config)?.[1] ?? "";
  const folder = join(layout.data, "e2e/mc");
  await rm(folder, { recursive: true, force: true });
  await mkdir(join(folder, "certs/CAs"), { recursive: true, mode: 0o700 });
  await writeFile(
    join(folder, "certs/CAs/ca.crt"),
    await readSecretValue(sandboxCluster(), namespace, "minio-tls", "ca.crt"),
  );
  const { stdout } = await run(client, ["--config-dir", folder, "--json", ...args], {
    env: { MC_HOST_stack: `https://${value("MINIO_ROOT_USER")}:${value("MINIO_ROOT_PASSWORD")}@${address}` },
  });
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line): Record<string, unknown> => JSON.parse(line));
}
