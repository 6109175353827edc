/**
 * Names, labels, ports and paths that several parts of the repository must agree on. Nothing is imported here, so that
 * every part may use it, at no cost.
 */

/** The Pulumi project, and what the pods' labels say that they are part of. */
export const projectName = "geocrop-storage";

/** A workload by the labels of its pods. */
export interface Workload {
  /** The label `app`. */
  readonly name: string;
  /** The label `app.kubernetes.io/component`: what it is, within the stack. */
  readonly component: string;
}

/**
 * The stack's servers. `name` is also what the Service, the Deployment or StatefulSet and the ServiceAccount are called;
 * `port` is what the pods listen on, over TLS.
 */
export const servers = {
  minio: { name: "minio", component: "object-storage", container: "minio", port: 9000 },
  api: { name: "geocrop-api", component: "signed-url-api", container: "signed-url-api", port: 8443 },
  downloads: { name: "geocrop-downloads", component: "download-gateway", container: "nginx", port: 8443 },
  auditReceiver: { name: "audit-receiver", component: "audit-log", container: "audit-receiver", port: 8443 },
} as const;

/** The workloads of geocrop's own that the stack lets near MinIO. The submitters share the API's `app`. */
export const clients = {
  worker: { name: "geocrop-worker", component: "worker" },
  jobSubmitter: { name: "geocrop-api", component: "job-submitter" },
} as const;

/** Where the API's pods listen for Prometheus, over TLS too. */
export const metricsPort = 9100;

/** Services beside the servers' own, which lead to their pods one by one. */
export const headlessServices = { minio: "minio-headless", apiMetrics: "geocrop-api-metrics" } as const;

/** Labels of a workload's pods: `app` is what NetworkPolicies and the user's document go by. */
export function podLabels({ name, component }: Workload): Record<string, string> {
  return {
    app: name,
    "app.kubernetes.io/name": name,
    "app.kubernetes.io/component": component,
    "app.kubernetes.io/part-of": projectName,
  };
}

/** A Service's DNS name inside the cluster. */
export function serviceHost(service: string, namespace: string): string {
  return `${service}.${namespace}.svc.cluster.local`;
}

/** MinIO's address inside the cluster. */
export function minioEndpoint(namespace: string): string {
  return `https://${serviceHost(servers.minio.name, namespace)}:${servers.minio.port}`;
}

/** The region that signers name; MinIO checks that it is this one. */
export const minioRegion = "us-east-1";

/** The buckets that workers read from. */
export const inputBuckets = ["geocrop-baselines", "geocrop-datasets", "geocrop-models"] as const;

/** The bucket that holds a folder `jobs/<id>/` for each job. */
export const resultsBucket = "geocrop-results";

/** The buckets that geocrop cannot do without (storage-security-notes.txt, "Bucket Policies Applied"). */
export const requiredBuckets = [...inputBuckets, resultsBucket] as const;

/** MinIO's users, besides root, which only makes the provisioner. */
export const identities = ["provisioner", "api-signer", "worker", "job-submitter"] as const;
export type Identity = (typeof identities)[number];

/** The policy in MinIO that says what an identity may do. */
export function policyName(identity: Identity): string {
  return `geocrop-${identity}`;
}

/** The Secret that holds an identity's key pair, by the keys of `keyPairFiles`. */
export function credentialsSecretName(identity: Identity): string {
  return `credentials-${identity}`;
}

/** The Secret that holds a server's certificate, by the keys of `certificateFiles`. */
export function tlsSecretName(server: string): string {
  return `${server}-tls`;
}

/** Secrets of which there is one. */
export const secretNames = {
  /** MinIO's environment, root's key pair in it. */
  minioConfig: "minio-config",
  /** What MinIO shows the audit receiver. */
  auditToken: "audit-token",
  /** The development issuer's signing key. */
  devIssuer: "dev-issuer",
} as const;

/** Keys of a Secret with a key pair, and the files that they are mounted as. */
export const keyPairFiles = { accessKey: "access-key", secretKey: "secret-key" } as const;

/** Keys of a Secret with a certificate, and the files that they are mounted as. */
export const certificateFiles = { certificate: "tls.crt", key: "tls.key", authority: "ca.crt" } as const;

/**
 * Mozilla's "intermediate" suites for TLS 1.2, guidelines 5.8: forward secret and authenticated, without CBC. Both Node
 * and OpenSSL offer more by default.
 */
export const tls12Suites = [
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
] as const;

/** Where pods find what is mounted into them. */
export const mountPaths = {
  tls: "/etc/geocrop/tls",
  credentials: "/etc/geocrop/credentials",
  auditToken: "/etc/geocrop/audit-token",
  auditLog: "/var/lib/audit",
} as const;

/** Images under this host exist only in the sandbox's own containerd; nothing can pull them. */
export const sandboxRegistry = "geocrop.sandbox";

/** The first upstream release without CVE-2025-62506, which lets a restricted service account mint a free one. */
export const oldestMinioRelease = "2025-10-15";
