import * as minio from "@pulumi/minio";
import * as pulumi from "@pulumi/pulumi";

import { type Identity, policyName } from "../../config/names.ts";
import type { KeyPair } from "./credentials.ts";

export interface MinioIdentityArgs {
  readonly identity: Identity;
  /** The key pairs that are valid now, the oldest first; the last is in use. */
  readonly turns: readonly (readonly [generation: number, pair: KeyPair])[];
  /** What it may do, as policy JSON (iam-policies.ts). */
  readonly policy: string;
}

/** One identity's policy in MinIO, and a user with it for each valid turn of its keys. */
export class MinioIdentity extends pulumi.ComponentResource {
  /** The key pair in use. */
  readonly current: KeyPair;
  /** Until these are there, the current user may do nothing. */
  readonly attachments: readonly minio.IamUserPolicyAttachment[];

  /** @throws Error when there is no turn at all. */
  constructor(name: string, args: MinioIdentityArgs, opts?: pulumi.ComponentResourceOptions) {
    super("geocrop:storage:MinioIdentity", name, {}, opts);
    const parent = { parent: this };
    const policy = new minio.IamPolicy(
      `${name}-policy`,
      { name: policyName(args.identity), policy: args.policy },
      parent,
    );
    this.attachments = args.turns.map(([generation, pair]) => {
      // `forceDestroy` must stay off: in provider 0.17.1 it deletes the user at any update (upstream issue 582).
      const user = new minio.IamUser(
        `${name}-g${generation}`,
        { name: pair.accessKey, secret: pair.secretKey },
        { ...parent, additionalSecretOutputs: ["secret"] },
      );
      return new minio.IamUserPolicyAttachment(
        `${name}-g${generation}-policy`,
        { userName: user.name, policyName: policy.name },
        parent,
      );
    });
    const current = args.turns.at(-1);
    if (current === undefined) throw new Error(`${args.identity} has no credentials`);
    this.current = current[1];
    this.registerOutputs({});
  }
}
