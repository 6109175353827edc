import * as kubernetes from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import {
  certificateFiles,
  headlessServices,
  minioEndpoint,
  minioRegion,
  podLabels,
  secretNames,
  serviceHost,
  servers,
  tlsSecretName,
} from "../../config/names.ts";
import { contentHash } from "../kubernetes/content-hash.ts";
import type { KeyPair } from "../access/credentials.ts";
import { secretData } from "../kubernetes/secrets.ts";
import {
  httpsProbe,
  skipAwait,
  resourceRequirements,
  restrictedContainer,
  restrictedPod,
  spread,
  volumeClaim,
} from "../kubernetes/workload.ts";

const labels = podLabels(servers.minio);
const service = servers.minio.name;
export const minioPort = servers.minio.port;
const headlessService = headlessServices.minio;
const configFile = "/etc/minio/config/config.env";

export interface MinioServerArgs {
  readonly namespace: string;
  /** Pinned by digest. */
  readonly image: pulumi.Input<string>;
  /** One pod, or a number that splits into erasure sets of 4 to 16. */
  readonly replicas: number;
  /** Size of each pod's drive. */
  readonly storage: string;
  /** @default the cluster's default StorageClass */
  readonly storageClass?: string | undefined;
  readonly resources: { readonly cpu: string; readonly memory: string };
  readonly root: KeyPair;
  /** Whether MinIO takes requests signed with root's key. */
  readonly rootAccess: "bootstrap" | "off";
  /** MinIO trusts the authorities that it read at its start: the pods restart when this changes. */
  readonly authorityHash: pulumi.Input<string>;
  readonly audit: {
    readonly endpoint: string;
    readonly token: pulumi.Input<string>;
    /** Size of the volume that holds what the receiver has not taken yet. */
    readonly queueStorage: string;
    readonly storageClass?: string | undefined;
  };
  /** Keeps `pulumi destroy` from the StatefulSet, and so its data. */
  readonly protect: boolean;
}

/** MinIO over TLS on port 9000, as the Service `minio`; several pods make one erasure-coded server. */
export class MinioServer extends pulumi.ComponentResource {
  readonly statefulSet: kubernetes.apps.v1.StatefulSet;
  /** Where clients in the cluster find it. */
  readonly endpoint: string;

  constructor(name: string, args: MinioServerArgs, opts?: pulumi.ComponentResourceOptions) {
    super("geocrop:storage:MinioServer", name, {}, opts);
    const parent = { parent: this };
    const { namespace } = args;
    const selector = { matchLabels: { app: service } };
    const environment = serverEnvironment(args.audit.endpoint, args.rootAccess);

    const config = new kubernetes.core.v1.Secret(
      `${name}-config`,
      {
        metadata: { name: secretNames.minioConfig, namespace },
        data: secretData({
          "config.env": pulumi
            .all([args.root.accessKey, args.root.secretKey, args.audit.token])
            .apply(([user, password, token]) =>
              environmentFile({
                MINIO_ROOT_USER: user,
                MINIO_ROOT_PASSWORD: password,
                ...environment,
                MINIO_AUDIT_WEBHOOK_AUTH_TOKEN_receiver: `Bearer ${token}`,
              }),
            ),
        }),
      },
      parent,
    );
    const account = new kubernetes.core.v1.ServiceAccount(
      `${name}-account`,
      { metadata: { name: service, namespace }, automountServiceAccountToken: false },
      parent,
    );
    const port = { name: "https-minio", port: minioPort, targetPort: minioPort };
    new kubernetes.core.v1.Service(
      `${name}-service`,
      {
        metadata: { name: service, namespace, labels: labels, annotations: skipAwait },
        spec: { selector: selector.matchLabels, ports: [port] },
      },
      parent,
    );
    const headless = new kubernetes.core.v1.Service(
      `${name}-headless`,
      {
        metadata: { name: headlessService, namespace, labels: labels, annotations: skipAwait },
        // Pods find their peers before any of them is ready.
        spec: {
          clusterIP: "None",
          publishNotReadyAddresses: true,
          selector: selector.matchLabels,
          ports: [port],
        },
      },
      parent,
    );
    new kubernetes.policy.v1.PodDisruptionBudget(
      `${name}-disruptions`,
      { metadata: { name: service, namespace }, spec: { maxUnavailable: 1, selector } },
      parent,
    );

    this.statefulSet = new kubernetes.apps.v1.StatefulSet(
      `${name}-pods`,
      {
        metadata: { name: service, namespace, labels: labels },
        spec: {
          serviceName: headless.metadata.name,
          replicas: args.replicas,
          selector,
          // Pods wait for one another, so they must all be started at once.
          podManagementPolicy: "Parallel",
          template: {
            metadata: {
              labels: labels,
              annotations: {
                "geocrop.io/authority": args.authorityHash,
                "geocrop.io/settings": contentHash(JSON.stringify(environment)),
              },
            },
            spec: {
              ...restrictedPod,
              serviceAccountName: account.metadata.name,
              ...(args.replicas > 1 ? { ...spread(labels), affinity: requiredAntiAffinity } : {}),
              terminationGracePeriodSeconds: 60,
              containers: [
                {
                  ...restrictedContainer,
                  name: servers.minio.container,
                  image: args.image,
                  args: serverArguments(namespace, args.replicas),
                  env: [
                    { name: "MINIO_CONFIG_ENV_FILE", value: configFile },
                    { name: "HOME", value: "/tmp" },
                  ],
                  ports: [{ name: "https-minio", containerPort: minioPort }],
                  resources: resourceRequirements(args.resources),
                  startupProbe: {
                    ...httpsProbe("/minio/health/live", minioPort),
                    periodSeconds: 2,
                    failureThreshold: 60,
                  },
                  livenessProbe: {
                    ...httpsProbe("/minio/health/live", minioPort),
                    periodSeconds: 10,
                    failureThreshold: 6,
                  },
                  // `ready` answers 200 before there is any object to be had; `cluster/read` tells the truth.
                  readinessProbe: {
                    ...httpsProbe("/minio/health/cluster/read", minioPort),
                    periodSeconds: 3,
                  },
                  volumeMounts: [
                    { name: "data", mountPath: "/data" },
                    { name: "audit-queue", mountPath: "/audit-queue" },
                    { name: "config", mountPath: "/etc/minio/config", readOnly: true },
                    { name: "certificates", mountPath: "/etc/minio/certs", readOnly: true },
                    { name: "tmp", mountPath: "/tmp" },
                  ],
                },
              ],
              volumes: [
                { name: "config", secret: { secretName: config.metadata.name } },
                {
                  name: "certificates",
                  secret: { secretName: tlsSecretName(service), items: certificateLayout },
                },
                { name: "tmp", emptyDir: { sizeLimit: "256Mi" } },
              ],
            },
          },
          volumeClaimTemplates: [
            volumeClaim("data", args.storage, args.storageClass),
            volumeClaim("audit-queue", args.audit.queueStorage, args.audit.storageClass),
          ],
        },
      },
      { parent: this, protect: args.protect, customTimeouts: { create: "5m", update: "10m", delete: "3m" } },
    );
    this.endpoint = minioEndpoint(namespace);
    this.registerOutputs({ endpoint: this.endpoint });
  }
}

/** MinIO looks for these names; it serves plain HTTP, silently, when one of the first two is missing. */
const certificateLayout = [
  { key: certificateFiles.certificate, path: "public.crt" },
  { key: certificateFiles.key, path: "private.key" },
  { key: certificateFiles.authority, path: "CAs/ca.crt" },
];

/** Two pods of one erasure set on one node would be lost together. */
const requiredAntiAffinity = {
  podAntiAffinity: {
    requiredDuringSchedulingIgnoredDuringExecution: [
      { labelSelector: { matchLabels: { app: service } }, topologyKey: "kubernetes.io/hostname" },
    ],
  },
};

/** The arguments of `minio server`: one local drive, or every pod's drive by its stable name. */
export function serverArguments(namespace: string, replicas: number): string[] {
  const drives =
    replicas === 1
      ? "/data"
      : `https://${service}-{0...${replicas - 1}}.${serviceHost(headlessService, namespace)}:${minioPort}/data`;
  return ["server", "--certs-dir", "/etc/minio/certs", "--address", `:${minioPort}`, drives];
}

/**
 * MinIO's settings without the secret ones. The audit queue is on disk, so that a receiver that is away loses
 * nothing; the console stays off (CVE-2026-113466 is in it).
 */
function serverEnvironment(auditEndpoint: string, rootAccess: "bootstrap" | "off"): Record<string, string> {
  return {
    // Left out while it is on, as by default.
    ...(rootAccess === "off" ? { MINIO_API_ROOT_ACCESS: "off" } : {}),
    MINIO_BROWSER: "off",
    MINIO_SITE_REGION: minioRegion,
    MINIO_UPDATE: "off",
    MINIO_CALLHOME_ENABLE: "off",
    MINIO_AUDIT_WEBHOOK_ENABLE_receiver: "on",
    MINIO_AUDIT_WEBHOOK_ENDPOINT_receiver: auditEndpoint,
    MINIO_AUDIT_WEBHOOK_QUEUE_DIR_receiver: "/audit-queue",
    MINIO_AUDIT_WEBHOOK_QUEUE_SIZE_receiver: "100000",
  };
}

/** The form that MINIO_CONFIG_ENV_FILE is read in: one `export NAME="value"` a line. */
export function environmentFile(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([name, value]) => `export ${name}="${value}"\n`)
    .join("");
}
