import { existsSync } from "node:fs";

import { ApiException, CoreV1Api, KubeConfig } from "@kubernetes/client-node";

import { sandboxFiles } from "../sandbox-files.ts";

/** The namespace of the stack that the small tools work on. @default geocrop */
export function stackNamespace(environment: NodeJS.ProcessEnv = process.env): string {
  return environment["GEOCROP_NAMESPACE"] || "geocrop";
}

/** A cluster, and whether it is the sandbox's. */
export interface ChosenCluster {
  readonly cluster: KubeConfig;
  readonly isSandbox: boolean;
}

/**
 * The cluster that KUBECONFIG names, else the sandbox's if there is one, else kubectl's own choice.
 *
 * @param context the kubeconfig's context to use. @default its current one
 */
export function chooseCluster(context?: string, environment: NodeJS.ProcessEnv = process.env): ChosenCluster {
  const { kubeconfig } = sandboxFiles(environment);
  const given = environment["KUBECONFIG"];
  const isSandbox = given === kubeconfig || (given === undefined && existsSync(kubeconfig));
  const cluster = new KubeConfig();
  if (isSandbox) cluster.loadFromFile(kubeconfig);
  else cluster.loadFromDefault();
  if (context !== undefined) cluster.setCurrentContext(context);
  return { cluster, isSandbox };
}

/** The cluster of the small tools: {@link chooseCluster} without a context. */
export function devCluster(environment: NodeJS.ProcessEnv = process.env): KubeConfig {
  return chooseCluster(undefined, environment).cluster;
}

/**
 * A Secret's values.
 *
 * @throws Error that tells what to do when the Secret is not there.
 */
export async function readSecret(
  cluster: KubeConfig,
  namespace: string,
  name: string,
): Promise<Readonly<Record<string, string>>> {
  try {
    const secret = await cluster.makeApiClient(CoreV1Api).readNamespacedSecret({ namespace, name });
    return Object.fromEntries(
      Object.entries(secret.data ?? {}).map(([key, value]) => [
        key,
        Buffer.from(value, "base64").toString("utf8"),
      ]),
    );
  } catch (error) {
    if (!(error instanceof ApiException) || error.code !== 404) throw error;
    throw new Error(
      `There is no Secret ${namespace}/${name} in this cluster: deploy the dev stack first (npm run sandbox), or point KUBECONFIG at the cluster that has it.`,
      { cause: error },
    );
  }
}

/** One value of a Secret. @throws Error when it is not there. */
export async function readSecretValue(
  cluster: KubeConfig,
  namespace: string,
  name: string,
  key: string,
): Promise<string> {
  const value = (await readSecret(cluster, namespace, name))[key];
  if (value === undefined) throw new Error(`Secret ${namespace}/${name} has no ${key}.`);
  return value;
}
