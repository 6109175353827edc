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
  /** Whether root's key is of use still: it must be at the first deployment. */
  readonly rootAccess: "bootstrap" | "off";
  /** What the provisioner may do (iam-policies.ts). */
  readonly provisionerPolicy: string;
  readonly tunnelPort: number;
}

/**
 * The way to MinIO's admin API, and who walks it: root makes the provisioner, the provisioner makes the rest.
 */
export class MinioAdmin extends pulumi.ComponentResource {
  /** Works as the provisioner. */
  readonly provider: minio.Provider;

  constructor(name: string, args: MinioAdminArgs, opts?: pulumi.ComponentResourceOptions) {
    super("geocrop:storage:MinioAdmin", name, {}, opts);
    // The server's id is unknown until it runs, and so is the tunnel: a first preview does not open it.
    const tunnel = pulumi.all([args.server.statefulSet.id, args.authority]).apply(([, authority]) =>
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

    // With root shut out, the provisioner keeps itself up: by its oldest valid key, the one that is surely there.
    // It is the same provider with another key to Pulumi, so that nothing is replaced (docs/decisions/0009).
    const oldest = args.credentials.turnsOf("provisioner")[0]?.[1];
    const maker = args.rootAccess === "off" && oldest !== undefined ? oldest : args.credentials.root;
    const root = provider("root", maker, [args.server.statefulSet]);
    const provisioner = new MinioIdentity(
      `${name}-provisioner-identity`,
      {
        identity: "provisioner",
        turns: args.credentials.turnsOf("provisioner"),
        policy: args.provisionerPolicy,
      },
      { parent: this, provider: root },
    );
    this.provider = provider("provisioner", provisioner.current, provisioner.attachments);
    this.registerOutputs({});
  }
}
