import * as kubernetes from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import type { AuditSettings } from "../../config/audit.ts";
import { mountPaths, secretNames, serviceHost, servers } from "../../config/names.ts";
import { secretData } from "../kubernetes/secrets.ts";
import { serverWorkload } from "../kubernetes/server-workload.ts";
import { mount, mountClaim, mountTls, volumeClaim } from "../kubernetes/workload.ts";

const { port, container, ...server } = servers.auditReceiver;

/** The volume that the audit log is kept on. It has its name from older versions; another would be a new, empty volume. */
const logVolume = "trail";

/** Where a Secret of the user's own is mounted, with the key `authorization`. */
const forwardDirectory = "/etc/geocrop/forward";

export interface AuditLogArgs {
  readonly namespace: string;
  /** Pinned by digest. */
  readonly image: pulumi.Input<string>;
  /** What MinIO must show to be taken for itself. */
  readonly token: pulumi.Input<string>;
  /** Size of the volume that the audit log is kept on. */
  readonly storage: string;
  /** @default the cluster's default StorageClass */
  readonly storageClass?: string | undefined;
  readonly retention: { readonly days: number; readonly bytes: number };
  /** A search index that summaries are sent to. @default none */
  readonly forward?: AuditSettings["forward"];
  readonly resources: { readonly cpu: string; readonly memory: string };
  /** Keeps `pulumi destroy` from the StatefulSet, and so from the audit log. */
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
    const { namespace, forward } = args;

    const token = new kubernetes.core.v1.Secret(
      `${name}-token`,
      { metadata: { name: secretNames.auditToken, namespace }, data: secretData({ token: args.token }) },
      parent,
    );
    const workload = serverWorkload(
      name,
      {
        namespace,
        server,
        service: { ports: [{ name: "https", port, targetPort: port }] },
        hasDisruptionBudget: false,
      },
      parent,
    );
    new kubernetes.apps.v1.StatefulSet(
      `${name}-pods`,
      {
        metadata: workload.metadata,
        spec: {
          serviceName: workload.service.metadata.name,
          replicas: 1,
          selector: workload.selector,
          template: workload.pod({
            container,
            image: args.image,
            replicas: 1,
            environment: environment(args),
            ports: { https: port },
            resources: args.resources,
            probes: { ready: "/readyz", alive: "/healthz" },
            mounts: [
              mountClaim(logVolume, mountPaths.auditLog),
              mountTls(server.name),
              mount("token", mountPaths.auditToken, { secret: { secretName: token.metadata.name } }),
              ...(forward?.authorizationSecret === undefined
                ? []
                : [
                    mount("forward", forwardDirectory, {
                      secret: { secretName: forward.authorizationSecret },
                    }),
                  ]),
            ],
          }),
          volumeClaimTemplates: [volumeClaim(logVolume, args.storage, args.storageClass)],
        },
      },
      { parent: this, protect: args.protect, customTimeouts: { create: "3m", update: "5m", delete: "3m" } },
    );
    this.endpoint = `https://${serviceHost(server.name, namespace)}:${port}/audit`;
    this.registerOutputs({ endpoint: this.endpoint });
  }
}

/** The container's settings; none of them is secret. */
function environment({ retention, forward }: AuditLogArgs): (readonly [name: string, value: string])[] {
  return [
    ["PORT", String(port)],
    ["TLS_DIR", mountPaths.tls],
    ["TOKEN_FILE", `${mountPaths.auditToken}/token`],
    ["DATA_DIR", mountPaths.auditLog],
    ["RETENTION_DAYS", String(retention.days)],
    ["RETENTION_BYTES", String(retention.bytes)],
    ...(forward === undefined
      ? []
      : ([
          ["FORWARD_URL", forward.url],
          ["FORWARD_FORMAT", forward.format],
        ] as const)),
    ...(forward?.authorizationSecret === undefined
      ? []
      : ([["FORWARD_AUTHORIZATION_FILE", `${forwardDirectory}/authorization`]] as const)),
  ];
}
