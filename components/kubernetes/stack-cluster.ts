import { existsSync } from "node:fs";

import type { KubeConfig } from "@kubernetes/client-node";
import * as pulumi from "@pulumi/pulumi";

/** Which cluster the stack's Kubernetes provider works on (`kubernetes:*` in the stack file). */
export interface ClusterSettings {
  /** A kubeconfig file's path, or its content. @default the ambient one, as kubectl finds it */
  readonly kubeconfig: string | undefined;
  /** @default the kubeconfig's current context */
  readonly context: string | undefined;
}

export function clusterSettings(): ClusterSettings {
  const settings = new pulumi.Config("kubernetes");
  return { kubeconfig: settings.get("kubeconfig"), context: settings.get("context") };
}

/** The Kubernetes client is large (0.4 s), so it is loaded only where it is needed. */
export const kubernetesClient = () => import("@kubernetes/client-node");

/**
 * The cluster that the stack's Kubernetes provider works on, for what a provider cannot do.
 *
 * @throws Error when the kubeconfig has no such context.
 */
export async function loadCluster({ kubeconfig, context }: ClusterSettings): Promise<KubeConfig> {
  const { KubeConfig } = await kubernetesClient();
  const cluster = new KubeConfig();
  if (kubeconfig === undefined) cluster.loadFromDefault();
  else if (existsSync(kubeconfig)) cluster.loadFromFile(kubeconfig);
  else cluster.loadFromString(kubeconfig);
  if (context !== undefined) {
    const known = cluster.getContexts().map(({ name }) => name);
    if (!known.includes(context)) {
      throw new Error(
        `kubernetes:context = "${context}": the kubeconfig has no such context, only ${known.join(", ")}`,
      );
    }
    cluster.setCurrentContext(context);
  }
  return cluster;
}
