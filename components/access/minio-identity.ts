import * as kubernetes from "@pulumi/kubernetes";
import * as minio from "@pulumi/minio";
import * as pulumi from "@pulumi/pulumi";

import { credentialsSecretName, type Identity, keyPairFiles, policyName } from "../../config/names.ts";
import { secretData } from "../kubernetes/secrets.ts";
import { refusal } from "../refusal.ts";
import type { Credentials, KeyPair } from "./credentials.ts";

export interface MinioIdentityArgs {
  readonly namespace: pulumi.Input<string>;
  readonly identity: Identity;
  readonly credentials: Credentials;
  /** What it may do, as policy JSON (iam-policies.ts). */
  readonly policy: string;
  /**
   * Why the user of the oldest valid generation cannot be created, where it cannot: the deployment is then refused
   * when MinIO does not have that user already. @default it can
   */
  readonly oldestUserMustExist?: string | undefined;
}

/**
 * One identity's policy in MinIO, a user with it for each valid generation of its keys, and the Secret
 * `credentials-<identity>` with the key pair in use.
 */
export class MinioIdentity extends pulumi.ComponentResource {
  /** The key pair of the oldest valid generation: the one that a rotation leaves as it is. */
  readonly oldest: KeyPair;
  /** Until it is there, the user of `oldest` may do nothing. */
  readonly oldestAttachment: minio.IamUserPolicyAttachment;

  /** @throws Error when no generation is valid. */
  constructor(name: string, args: MinioIdentityArgs, opts?: pulumi.ComponentResourceOptions) {
    super("geocrop:storage:MinioIdentity", name, {}, opts);
    const parent = { parent: this };
    const policy = new minio.IamPolicy(
      `${name}-policy`,
      { name: policyName(args.identity), policy: args.policy },
      parent,
    );
    const { oldestUserMustExist } = args;
    const users = args.credentials.generationsOf(args.identity).map(({ generation, pair }, index) => {
      const hooks =
        index === 0 && oldestUserMustExist !== undefined
          ? {
              beforeCreate: refusal(`${name}-must-exist`, () => {
                throw new Error(oldestUserMustExist);
              }),
            }
          : undefined;
      // `forceDestroy` must stay off: in provider 0.17.1 it deletes the user at any update (upstream issue 582).
      const user = new minio.IamUser(
        `${name}-g${generation}`,
        { name: pair.accessKey, secret: pair.secretKey },
        { ...parent, additionalSecretOutputs: ["secret"], ...(hooks === undefined ? {} : { hooks }) },
      );
      const attachment = new minio.IamUserPolicyAttachment(
        `${name}-g${generation}-policy`,
        { userName: user.name, policyName: policy.name },
        parent,
      );
      return { pair, attachment };
    });
    const [oldest, current] = [users.at(0), users.at(-1)];
    if (oldest === undefined || current === undefined) throw new Error(`${args.identity} has no credentials`);
    this.oldest = oldest.pair;
    this.oldestAttachment = oldest.attachment;

    new kubernetes.core.v1.Secret(
      `${name}-credentials`,
      {
        metadata: { name: credentialsSecretName(args.identity), namespace: args.namespace },
        data: secretData({
          [keyPairFiles.accessKey]: current.pair.accessKey,
          [keyPairFiles.secretKey]: current.pair.secretKey,
        }),
      },
      {
        ...parent,
        // No pod may be given a key that MinIO does not know yet: an `up` that ends in between would shut it out.
        dependsOn: [current.attachment],
        aliases: [args.credentials.formerSecret(args.identity)],
      },
    );
    this.registerOutputs({});
  }
}
