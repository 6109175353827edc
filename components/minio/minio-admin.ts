import * as minio from "@pulumi/minio";
import * as pulumi from "@pulumi/pulumi";

import { minioRegion, servers, tlsSecretName } from "../../config/names.ts";
import type { Credentials, KeyPair } from "../access/credentials.ts";
import { MinioIdentity } from "../access/minio-identity.ts";
import type { MinioServer } from "./minio-server.ts";
import { openTunnel } from "./tunnel.ts";

export interface MinioAdminArgs {
  readonly namespace: string;
  readonly server: MinioServer;
  readonly credentials: Credentials;
  /** What vouches for the server's certificate. @default read from the server's Secret */
  readonly authority: pulumi.Output<string> | undefined;
  /** Whether MinIO still takes root's key: it must at the first deployment. */
  readonly rootAccess: "bootstrap" | "off";
  /** What the provisioner may do (iam-policies.ts). */
  readonly provisionerPolicy: string;
  readonly tunnelPort: number;
}

/**
 * Access to MinIO's admin API: root creates the provisioner, and the provisioner creates the rest.
 */
export class MinioAdmin extends pulumi.ComponentResource {
  /** Works as the provisioner. */
  readonly provider: minio.Provider;

  constructor(name: string, args: MinioAdminArgs, opts?: pulumi.ComponentResourceOptions) {
    super("geocrop:storage:MinioAdmin", name, {}, opts);
    // Known once the server is there, since its pods carry a digest of it; but not in the preview of a deployment that
    // issues it anew. What the server still shows is then read from its Secret, or all its buckets and users would be
    // listed as changed, since their provider might be.
    let authority: string | undefined;
    args.authority?.apply((certificate) => {
      authority = certificate;
    });
    // The server's id is unknown until it runs, and so is the tunnel: a first preview does not open it.
    const tunnel = args.server.statefulSet.id.apply(() =>
      openTunnel({
        namespace: args.namespace,
        service: servers.minio.name,
        port: servers.minio.port,
        localPort: args.tunnelPort,
        certificateSecret: tlsSecretName(servers.minio.name),
        authority,
      }),
    );
    const provider = (
      identity: string,
      { accessKey, secretKey }: KeyPair,
      dependsOn: readonly pulumi.Resource[],
    ) =>
      new minio.Provider(
        `${name}-${identity}`,
        {
          minioServer: tunnel.address,
          minioCacertFile: tunnel.authorityFile,
          minioSsl: true,
          minioRegion,
          minioUser: accessKey,
          // The provider's SDK does not mark it; ours has been secret from birth.
          minioPassword: pulumi.secret(secretKey),
        },
        { parent: this, dependsOn: [...dependsOn] },
      );

    // With root shut out, the provisioner keeps itself up, by its oldest valid key: the one that MinIO has already.
    // It is the same provider with another key to Pulumi, so that nothing is replaced (docs/decisions/0009).
    const [oldest] = args.credentials.generationsOf("provisioner");
    const rootIsOff = args.rootAccess === "off" && oldest !== undefined;
    const bootstrapCredentials = rootIsOff ? oldest.pair : args.credentials.root;
    const bootstrap = provider("root", bootstrapCredentials, [args.server.statefulSet]);
    const provisioner = new MinioIdentity(
      `${name}-provisioner-identity`,
      {
        namespace: args.namespace,
        identity: "provisioner",
        credentials: args.credentials,
        policy: args.provisionerPolicy,
        oldestUserMustExist: rootIsOff ? missingBootstrapUser(oldest.generation) : undefined,
      },
      { parent: this, provider: bootstrap },
    );
    // By the oldest valid key too: in a rotation's preview the new one is not known yet, and every bucket and user
    // would be listed as changed, since its provider might be.
    this.provider = provider("provisioner", provisioner.oldest, [provisioner.oldestAttachment]);
    this.registerOutputs({});
  }
}

function missingBootstrapUser(generation: number): string {
  return (
    `minio.rootAccess = "off": MinIO does not have the provisioner's key of generation ${generation}, by which it is ` +
    "administered while root is shut out: raise credentials.generation by one at a time, or set minio.rootAccess to " +
    "bootstrap for this deployment (a first one, or a leaked key that two generations at once must revoke)"
  );
}
