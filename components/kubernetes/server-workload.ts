import * as kubernetes from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

import { podLabels, type Workload } from "../../config/names.ts";
import {
  httpsProbe,
  type Mount,
  resourceRequirements,
  restrictedContainer,
  restrictedPod,
  skipAwait,
  spread,
} from "./workload.ts";

type Container = kubernetes.types.input.core.v1.Container;
type PodSpec = kubernetes.types.input.core.v1.PodSpec;
type PodTemplate = kubernetes.types.input.core.v1.PodTemplateSpec;
type ServiceSpec = kubernetes.types.input.core.v1.ServiceSpec;

export interface ServerWorkloadArgs {
  readonly namespace: string;
  readonly server: Workload;
  /** Labels that only the server's pods have. @default `app` alone */
  readonly podSelector?: Record<string, string>;
  /** The Service's type and ports. */
  readonly service: Omit<ServiceSpec, "selector">;
  /** Whether at most one pod at a time may be evicted. */
  readonly hasDisruptionBudget: boolean;
}

export interface ServerPodArgs {
  readonly container: string;
  /** Pinned by digest. */
  readonly image: pulumi.Input<string>;
  readonly replicas: number;
  /** None of them is secret. @default none */
  readonly environment?: readonly (readonly [name: string, value: string])[];
  /** Ports that the container listens on, by name. The first is the one that is probed. */
  readonly ports: Readonly<Record<string, number>>;
  readonly resources: { readonly cpu: string; readonly memory: string };
  /** Paths that answer 200 over HTTPS when the pod may be sent requests, and while it is alive. */
  readonly probes: { readonly ready: string; readonly alive: string };
  readonly mounts: readonly Mount[];
  /** Pods restart when one of them changes. @default none */
  readonly annotations?: Record<string, pulumi.Input<string>>;
}

/** What a Deployment or StatefulSet needs of what was declared around it. */
export interface ServerWorkload {
  readonly metadata: { name: string; namespace: string; labels: Record<string, string> };
  readonly selector: { matchLabels: Record<string, string> };
  readonly service: kubernetes.core.v1.Service;
  /** The template of the server's pods: restricted, with one container. */
  pod(args: ServerPodArgs): PodTemplate;
}

/** Declares what stands around a server's Deployment or StatefulSet: account, Service and, if asked, disruption budget. */
export function serverWorkload(
  name: string,
  { namespace, server, podSelector = { app: server.name }, service, hasDisruptionBudget }: ServerWorkloadArgs,
  opts: pulumi.CustomResourceOptions,
): ServerWorkload {
  const labels = podLabels(server);
  const selector = { matchLabels: podSelector };
  const account = new kubernetes.core.v1.ServiceAccount(
    `${name}-account`,
    { metadata: { name: server.name, namespace }, automountServiceAccountToken: false },
    opts,
  );
  if (hasDisruptionBudget) {
    new kubernetes.policy.v1.PodDisruptionBudget(
      `${name}-disruptions`,
      { metadata: { name: server.name, namespace }, spec: { maxUnavailable: 1, selector } },
      opts,
    );
  }
  return {
    metadata: { name: server.name, namespace, labels },
    selector,
    service: new kubernetes.core.v1.Service(
      `${name}-service`,
      {
        metadata: { name: server.name, namespace, labels, annotations: skipAwait },
        spec: { ...service, selector: podSelector },
      },
      opts,
    ),
    pod: (args) => ({
      metadata: { labels, ...(args.annotations === undefined ? {} : { annotations: args.annotations }) },
      spec: {
        ...restrictedPod,
        serviceAccountName: account.metadata.name,
        ...(args.replicas > 1 ? spread(podSelector) : {}),
        containers: [containerOf(args)],
        volumes: args.mounts.flatMap(({ volume }) => (volume === undefined ? [] : [volume])),
      } satisfies PodSpec,
    }),
  };
}

function containerOf(args: ServerPodArgs): Container {
  const [probed = 0] = Object.values(args.ports);
  return {
    ...restrictedContainer,
    name: args.container,
    image: args.image,
    ...(args.environment === undefined
      ? {}
      : { env: args.environment.map(([variable, value]) => ({ name: variable, value })) }),
    ports: Object.entries(args.ports).map(([portName, containerPort]) => ({ name: portName, containerPort })),
    resources: resourceRequirements(args.resources),
    readinessProbe: { ...httpsProbe(args.probes.ready, probed), periodSeconds: 3 },
    livenessProbe: { ...httpsProbe(args.probes.alive, probed), periodSeconds: 10 },
    volumeMounts: args.mounts.map(({ volumeMount }) => volumeMount),
  };
}
