import * as kubernetes from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import type { Settings } from "../../config/schema.ts";
import { tlsSecretName } from "../tls/certificates.ts";
import { secretData } from "../kubernetes/secrets.ts";
import {
  httpsProbe,
  notAwaited,
  podLabels,
  resourceRequirements,
  restrictedContainer,
  restrictedPod,
  volumeClaim,
} from "../kubernetes/workload.ts";

const labels = podLabels("audit-receiver", "audit-log");
const port = 8443;
const directory = "/var/lib/audit";
/** A Secret of the user's own, with the key `authorization`. */
const forwardDirectory = "/etc/geocrop/forward";

export interface AuditLogArgs {
  readonly namespace: string;
  /** Pinned by digest. */
  readonly image: pulumi.Input<string>;
  /** What MinIO must show to be taken for itself. */
  readonly token: pulumi.Input<string>;
  /** Size of the volume that the audit trail is kept on. */
  readonly storage: string;
  /** @default the cluster's default StorageClass */
  readonly storageClass?: string | undefined;
  readonly retention: { readonly days: number; readonly bytes: number };
  /** An index for searching that summaries go on to. @default none */
  readonly forward?: Settings["audit"]["forward"];
  readonly resources: { readonly cpu: string; readonly memory: string };
  /** Keeps `pulumi destroy` from the StatefulSet, and so the audit trail. */
  readonly protect: boolean;
}

/**
 * Takes MinIO's audit events, masks the live signatures in them, and keeps them. One pod: it writes one chain
 * of hashes, and MinIO queues on disk while it is away.
 */
export class AuditLog extends pulumi.ComponentResource {
  /** Where MinIO sends its events. */
  readonly endpoint: string;

  constructor(name: string, args: AuditLogArgs, opts?: pulumi.ComponentResourceOptions) {
    super("geocrop:storage:AuditLog", name, {}, opts);
    const parent = { parent: this };
    const { namespace } = args;
    const forward = args.forward;
    const authorization = forward?.authorizationSecret;
    const selector = { matchLabels: { app: "audit-receiver" } };

    const token = new kubernetes.core.v1.Secret(
      `${name}-token`,
      { metadata: { name: "audit-token", namespace }, data: secretData({ token: args.token }) },
      parent,
    );
    const account = new kubernetes.core.v1.ServiceAccount(
      `${name}-account`,
      { metadata: { name: "audit-receiver", namespace }, automountServiceAccountToken: false },
      parent,
    );
    const service = new kubernetes.core.v1.Service(
      `${name}-service`,
      {
        metadata: { name: "audit-receiver", namespace, labels, annotations: notAwaited },
        spec: { selector: selector.matchLabels, ports: [{ name: "https", port, targetPort: port }] },
      },
      parent,
    );
    new kubernetes.apps.v1.StatefulSet(
      `${name}-pods`,
      {
        metadata: { name: "audit-receiver", namespace, labels },
        spec: {
          serviceName: service.metadata.name,
          replicas: 1,
          selector,
          template: {
            metadata: { labels },
            spec: {
              ...restrictedPod,
              serviceAccountName: account.metadata.name,
              containers: [
                {
                  ...restrictedContainer,
                  name: "audit-receiver",
                  image: args.image,
                  env: [
                    { name: "PORT", value: String(port) },
                    { name: "TLS_DIR", value: "/etc/geocrop/tls" },
                    { name: "TOKEN_FILE", value: "/etc/geocrop/audit-token/token" },
                    { name: "DATA_DIR", value: directory },
                    { name: "RETENTION_DAYS", value: String(args.retention.days) },
                    { name: "RETENTION_BYTES", value: String(args.retention.bytes) },
                    ...(forward === undefined
                      ? []
                      : [
                          { name: "FORWARD_URL", value: forward.url },
                          { name: "FORWARD_FORMAT", value: forward.format },
                        ]),
                    ...(authorization === undefined
                      ? []
                      : [{ name: "FORWARD_AUTHORIZATION_FILE", value: `${forwardDirectory}/authorization` }]),
                  ],
                  ports: [{ name: "https", containerPort: port }],
                  resources: resourceRequirements(args.resources),
                  readinessProbe: { ...httpsProbe("/readyz", port), periodSeconds: 3 },
                  livenessProbe: { ...httpsProbe("/healthz", port), periodSeconds: 10 },
                  volumeMounts: [
                    { name: "trail", mountPath: directory },
                    { name: "tls", mountPath: "/etc/geocrop/tls", readOnly: true },
                    { name: "token", mountPath: "/etc/geocrop/audit-token", readOnly: true },
                    ...(authorization === undefined
                      ? []
                      : [{ name: "forward", mountPath: forwardDirectory, readOnly: true }]),
                  ],
                },
              ],
              volumes: [
                { name: "tls", secret: { secretName: tlsSecretName("audit-receiver") } },
                { name: "token", secret: { secretName: token.metadata.name } },
                ...(authorization === undefined
                  ? []
                  : [{ name: "forward", secret: { secretName: authorization } }]),
              ],
            },
          },
          volumeClaimTemplates: [volumeClaim("trail", args.storage, args.storageClass)],
        },
      },
      { parent: this, protect: args.protect, customTimeouts: { create: "3m", update: "5m", delete: "3m" } },
    );
    this.endpoint = `https://audit-receiver.${namespace}.svc.cluster.local:${port}/audit`;
    this.registerOutputs({ endpoint: this.endpoint });
  }
}
