import type * as kubernetes from "@pulumi/kubernetes";

import { mountPaths, podLabels as labelsOf, tlsSecretName } from "../../config/names.ts";

type Container = kubernetes.types.input.core.v1.Container;
type PodSpec = kubernetes.types.input.core.v1.PodSpec;
type Volume = kubernetes.types.input.core.v1.Volume;
type VolumeMount = kubernetes.types.input.core.v1.VolumeMount;

/** The user and group of every process in the stack; its images own nothing as root. */
export const unprivilegedId = 1000;

/** Seconds an ending pod goes on serving while its address leaves the Services. */
const endpointRemovalSeconds = 5;

// For callers that do not name config/names.ts yet.
export function podLabels(app: string, component: string): Record<string, string> {
  return labelsOf({ name: app, component });
}

/** What keeps a container within Pod Security "restricted", and its root file system read-only besides. */
export const restrictedContainer = {
  securityContext: {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ["ALL"] },
  },
  // Endpoints forget a pod only after its SIGTERM: without the pause, requests under way to it are refused.
  lifecycle: { preStop: { sleep: { seconds: endpointRemovalSeconds } } },
} satisfies Partial<Container>;

/** What every pod of the stack has: no token, no root, the runtime's seccomp profile (CIS 5.1.6, 5.7.2, 5.7.3). */
export const restrictedPod = {
  automountServiceAccountToken: false,
  enableServiceLinks: false,
  securityContext: {
    runAsNonRoot: true,
    runAsUser: unprivilegedId,
    runAsGroup: unprivilegedId,
    fsGroup: unprivilegedId,
    fsGroupChangePolicy: "OnRootMismatch",
    seccompProfile: { type: "RuntimeDefault" },
  },
} satisfies Partial<PodSpec>;

/** Replicas on different nodes where there are any, as evenly as zones and nodes allow. */
export function spread(labels: Record<string, string>) {
  const labelSelector = { matchLabels: labels };
  return {
    topologySpreadConstraints: ["topology.kubernetes.io/zone", "kubernetes.io/hostname"].map(
      (topologyKey) => ({
        maxSkew: 1,
        topologyKey,
        whenUnsatisfiable: "ScheduleAnyway",
        labelSelector,
      }),
    ),
  } satisfies Partial<PodSpec>;
}

/**
 * Memory is requested in full, so that a pod is never killed for using what it may; CPU has no limit. The node's disk
 * holds logs and `/tmp` (at most 256Mi): a pod that fills it is evicted before its neighbours are.
 */
export function resourceRequirements({ cpu, memory }: { cpu: string; memory: string }) {
  return {
    requests: { cpu, memory, "ephemeral-storage": "64Mi" },
    limits: { memory, "ephemeral-storage": "512Mi" },
  };
}

/** A probe over TLS; the kubelet does not check the certificate. */
export function httpsProbe(path: string, port: number) {
  return { httpGet: { path, port, scheme: "HTTPS" }, timeoutSeconds: 5 };
}

/**
 * Services are not awaited: Pulumi would wait for their endpoints, and so for pods that are declared after
 * them (pulumi-kubernetes #1974). The workloads' own rollouts show when the stack is ready.
 */
export const skipAwait = { "pulumi.com/skipAwait": "true" };

/** A volume of its own for each pod of a StatefulSet. */
export function volumeClaim(name: string, storage: string, storageClass: string | undefined) {
  return {
    metadata: { name },
    spec: {
      accessModes: ["ReadWriteOnce"],
      resources: { requests: { storage } },
      ...(storageClass === undefined ? {} : { storageClassName: storageClass }),
    },
  };
}

/** A volume, and where a container finds it. */
export interface Mount {
  readonly volumeMount: VolumeMount;
  /** Absent where a claim of the StatefulSet makes the volume. */
  readonly volume?: Volume;
}

/**
 * Mounts a volume, read-only unless it is an emptyDir.
 *
 * @param source the volume's kind: `{secret}`, `{configMap}` or `{emptyDir}`.
 * @param subPath the one file of the volume that is mounted. @default all of them, below `mountPath`
 */
export function mount(
  name: string,
  mountPath: string,
  source: Omit<Volume, "name">,
  subPath?: string,
): Mount {
  return {
    volumeMount: {
      name,
      mountPath,
      ...(subPath === undefined ? {} : { subPath }),
      ...(source.emptyDir === undefined ? { readOnly: true } : {}),
    },
    volume: { name, ...source },
  };
}

/** Mounts the Secret with a server's certificate at `mountPaths.tls`. */
export function mountTls(server: string): Mount {
  return mount("tls", mountPaths.tls, { secret: { secretName: tlsSecretName(server) } });
}

/** Mounts the volume that a StatefulSet claims for each of its pods. */
export function mountClaim(name: string, mountPath: string): Mount {
  return { volumeMount: { name, mountPath } };
}

/** Mounts a writable `/tmp`. */
export const mountTmp = mount("tmp", "/tmp", { emptyDir: { sizeLimit: "256Mi" } });
