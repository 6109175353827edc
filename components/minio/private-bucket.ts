import * as minio from "@pulumi/minio";
import * as pulumi from "@pulumi/pulumi";

export interface PrivateBucketArgs {
  readonly bucket: string;
  /** In bytes, over all versions. MinIO compares it with its scanner's last count, so it is a soft bound. */
  readonly quota: number;
  /** Days after which a version that is no longer the current one goes. */
  readonly noncurrentDays: number;
  /** Days after which a current version goes. @default never */
  readonly expireDays?: number | undefined;
  /** Keeps `pulumi destroy` from the bucket; otherwise it takes the objects along. */
  readonly protect: boolean;
}

/** A bucket that nobody reads without a key: versioned, with a quota, and its old versions cleared away. */
export class PrivateBucket extends pulumi.ComponentResource {
  readonly bucket: pulumi.Output<string>;

  constructor(name: string, args: PrivateBucketArgs, opts?: pulumi.ComponentResourceOptions) {
    super("geocrop:storage:PrivateBucket", name, {}, opts);
    const parent = { parent: this };
    const bucket = new minio.S3Bucket(
      name,
      { bucket: args.bucket, acl: "private", quota: args.quota, forceDestroy: !args.protect },
      { parent: this, protect: args.protect },
    );
    const versioning = new minio.S3BucketVersioning(
      `${name}-versioning`,
      { bucket: bucket.bucket, versioningConfiguration: { status: "Enabled" } },
      parent,
    );
    new minio.IlmPolicy(
      `${name}-lifecycle`,
      { bucket: bucket.bucket, rules: lifecycleRules(args.noncurrentDays, args.expireDays) },
      { parent: this, dependsOn: [versioning] },
    );
    this.bucket = bucket.bucket;
    this.registerOutputs({ bucket: this.bucket });
  }
}

/** One rule an expiry: what one rule can hold differs between MinIO's and the provider's reading of it. */
export function lifecycleRules(noncurrentDays: number, expireDays: number | undefined) {
  return [
    { id: "noncurrent-versions", noncurrentVersionExpirationDays: noncurrentDays },
    ...(expireDays === undefined ? [] : [{ id: "old-objects", expiration: `${expireDays}d` }]),
  ];
}
