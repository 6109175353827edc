import * as kubernetes from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { auditRetention } from "../config/audit.ts";
import { serviceHost, servers } from "../config/names.ts";
import type { Settings } from "../config/schema.ts";
import { AuditLog } from "./audit/audit-log.ts";
import { Certificates } from "./tls/certificates.ts";
import { Credentials } from "./access/credentials.ts";
import { DownloadGateway } from "./downloads/download-gateway.ts";
import { declaredPolicies } from "./access/iam-policies.ts";
import { MinioAdmin } from "./minio/minio-admin.ts";
import { MinioIdentity } from "./access/minio-identity.ts";
import { MinioServer } from "./minio/minio-server.ts";
import { networkSettings } from "./network/network-paths.ts";
import { NetworkPolicies } from "./network/network-policies.ts";
import { certificateServers } from "./tls/server-names.ts";
import { PrivateBucket } from "./minio/private-bucket.ts";
import { bytesOf } from "../config/quantity.ts";
import { refusal } from "./refusal.ts";
import { checkNamespace, checkRunningStack, guardedSettings } from "./running-stack.ts";
import { SignedUrlApi } from "./api/signed-url-api.ts";
import { DevIssuer, type TokenRules } from "./api/token-issuer.ts";

/** Pod Security "restricted", at the version these manifests were written for. */
const podSecurity = Object.fromEntries(
  ["enforce", "audit", "warn"].flatMap((mode) => [
    [`pod-security.kubernetes.io/${mode}`, "restricted"],
    [`pod-security.kubernetes.io/${mode}-version`, "v1.35"],
  ]),
);

/** The whole of geocrop's private storage. Its parts depend on one another in the order they are read here. */
export class GeocropStorage extends pulumi.ComponentResource {
  readonly namespace: pulumi.Output<string>;
  /** Where services in the cluster find MinIO. */
  readonly minioEndpoint: string;
  readonly buckets: Readonly<Record<string, pulumi.Output<string>>>;

  constructor(name: string, settings: Settings, opts?: pulumi.ComponentResourceOptions) {
    super("geocrop:storage:GeocropStorage", name, guardedSettings(settings), {
      ...opts,
      hooks: { beforeUpdate: refusal(`${name}-running-stack`, checkRunningStack(settings)) },
    });
    const parent = { parent: this };
    const { namespace, images, protectData: protect } = settings;

    const namespaceResource = new kubernetes.core.v1.Namespace(
      `${name}-namespace`,
      { metadata: { name: namespace, labels: podSecurity } },
      {
        parent: this,
        protect,
        retainOnDelete: settings.adopt,
        hooks: { beforeCreate: refusal(`${name}-namespace-is-new`, checkNamespace(settings, podSecurity)) },
      },
    );
    const inNamespace = { parent: this, dependsOn: [namespaceResource] };

    const policies = new NetworkPolicies(
      `${name}-network`,
      { namespace, ...networkSettings(settings) },
      inNamespace,
    );
    const certificates = new Certificates(
      `${name}-certificates`,
      { namespace, tls: settings.tls, servers: certificateServers(settings) },
      inNamespace,
    );
    const credentials = new Credentials(
      `${name}-credentials`,
      { generation: settings.credentials.generation },
      inNamespace,
    );
    // No pod before the policies that close it in and the Secrets that it mounts.
    const prepared = { parent: this, dependsOn: [policies, certificates, credentials] };

    const audit = new AuditLog(
      `${name}-audit`,
      {
        namespace,
        image: images.auditReceiver,
        token: credentials.auditToken,
        storage: settings.audit.storage,
        storageClass: settings.audit.storageClass,
        retention: auditRetention(settings.audit),
        forward: settings.audit.forward,
        resources: settings.audit.resources,
        protect,
      },
      prepared,
    );
    const server = new MinioServer(
      `${name}-minio`,
      {
        namespace,
        image: images.minio,
        replicas: settings.minio.replicas,
        storage: settings.minio.storage,
        storageClass: settings.minio.storageClass,
        resources: settings.minio.resources,
        root: credentials.root,
        rootAccess: settings.minio.rootAccess,
        authorityHash: certificates.authorityHash,
        audit: {
          endpoint: audit.endpoint,
          token: credentials.auditToken,
          queueStorage: settings.audit.queueStorage,
          storageClass: settings.audit.storageClass,
        },
        protect,
      },
      { parent: this, dependsOn: [policies, certificates, credentials, audit] },
    );
    const policyOf = declaredPolicies(settings);
    const admin = new MinioAdmin(
      `${name}-admin`,
      {
        namespace,
        server,
        credentials,
        authority: certificates.authority,
        provisionerPolicy: policyOf.provisioner,
        rootAccess: settings.minio.rootAccess,
        tunnelPort: settings.tunnelPort,
      },
      parent,
    );
    const inMinio = { parent: this, provider: admin.provider };

    const buckets = new Map(
      Object.entries(settings.buckets).map(([bucket, { quota, noncurrentDays, expireDays }]) => [
        bucket,
        new PrivateBucket(
          `${name}-bucket-${bucket}`,
          { bucket, quota: bytesOf(quota), noncurrentDays, expireDays, protect },
          inMinio,
        ),
      ]),
    );
    const identities = (["api-signer", "worker", "job-submitter"] as const).map(
      (identity) =>
        new MinioIdentity(
          `${name}-${identity}`,
          { namespace, identity, credentials, policy: policyOf[identity] },
          inMinio,
        ),
    );

    const gateway = new DownloadGateway(
      `${name}-downloads`,
      {
        namespace,
        image: images.downloadGateway,
        replicas: settings.downloads.replicas,
        expose: settings.downloads.expose,
        publicUrl: settings.downloads.publicUrl,
        limits: settings.downloads.limits,
        trustedProxies: settings.downloads.trustedProxies,
        authorityHash: certificates.authorityHash,
        resources: settings.downloads.resources,
        upstream: `${serviceHost(servers.minio.name, namespace)}:${servers.minio.port}`,
        allowedOrigins: settings.allowedOrigins,
      },
      // nginx looks the upstream's name up once, at its start.
      { parent: this, dependsOn: [policies, certificates, server] },
    );
    const tokens = this.#tokenSource(name, settings, inNamespace);
    const api = new SignedUrlApi(
      `${name}-api`,
      {
        namespace,
        image: images.signedUrlApi,
        replicas: settings.api.replicas,
        expose: settings.api.expose,
        publicUrl: settings.api.publicUrl,
        resources: settings.api.resources,
        minioEndpoint: server.endpoint,
        downloadUrl: settings.downloads.publicUrl,
        urlExpirySeconds: settings.api.urlExpirySeconds,
        tokens: tokens.rules,
        adminClaim: settings.api.adminClaim,
        allowedOrigins: settings.allowedOrigins,
        rateLimits: settings.api.rateLimits,
      },
      { parent: this, dependsOn: [policies, certificates, credentials, ...identities] },
    );

    // Depends on all that there is, so that `pulumi destroy`, with whatever flags, comes to it first. Protected, it
    // stops the engine there, and not after what serves is gone.
    new pulumi.ComponentResource(
      "geocrop:storage:DestroyGuard",
      `${name}-destroy-guard`,
      {},
      {
        parent: this,
        protect,
        dependsOn: [
          namespaceResource,
          policies,
          certificates,
          credentials,
          audit,
          server,
          admin,
          ...buckets.values(),
          ...identities,
          gateway,
          ...tokens.resources,
          api,
        ],
      },
    );

    this.namespace = namespaceResource.metadata.name;
    this.minioEndpoint = server.endpoint;
    this.buckets = Object.fromEntries([...buckets].map(([bucket, { bucket: created }]) => [bucket, created]));
    this.registerOutputs({
      namespace: this.namespace,
      minioEndpoint: this.minioEndpoint,
      buckets: this.buckets,
    });
  }

  /** Which tokens the API takes, and what is deployed to issue them. */
  #tokenSource(
    name: string,
    { namespace, api: { auth } }: Settings,
    opts: pulumi.ComponentResourceOptions,
  ): { readonly rules: TokenRules; readonly resources: readonly pulumi.Resource[] } {
    if (auth.mode === "dev-issuer") {
      const devIssuer = new DevIssuer(`${name}-dev-issuer`, { namespace }, opts);
      return { rules: devIssuer.rules, resources: [devIssuer] };
    }
    const { issuer, audience, algorithms, url, ca } = auth;
    return { rules: { issuer, audience, algorithms, keys: { url, ca } }, resources: [] };
  }
}
