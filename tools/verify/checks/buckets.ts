import { z } from "zod";

import { bytesOf } from "../../../config/quantity.ts";
import type { Check } from "../check.ts";
import { errorCode } from "../minio.ts";
import type { Target } from "../target.ts";

const quotaSchema = z.looseObject({ quota: z.number().default(0), quotatype: z.string().default("") });

/** A key that holds nothing: who may not read is told 403 all the same, who may is told 404. */
const nothing = "geocrop-verify/nothing";

/** What a stranger to MinIO can ask of a bucket. */
const anonymousCalls = [
  ["GET", `/${nothing}`],
  ["HEAD", `/${nothing}`],
  ["PUT", `/${nothing}`],
  ["DELETE", `/${nothing}`],
  ["GET", "?list-type=2"],
  ["GET", "?versions="],
  ["GET", "?uploads="],
  ["GET", "?policy="],
  ["HEAD", ""],
] as const;

const declared = ({ settings }: Target) => Object.entries(settings.buckets);

/** Runs one look at each declared bucket and gathers what is wrong. */
async function eachBucket(
  target: Target,
  look: (bucket: string, settings: Target["settings"]["buckets"][string]) => Promise<string | undefined>,
): Promise<string[]> {
  const faults = await Promise.all(declared(target).map(([bucket, settings]) => look(bucket, settings)));
  return faults.filter((fault) => fault !== undefined);
}

export const bucketChecks: readonly Check[] = [
  {
    id: "buckets.private",
    proves:
      '"mc anonymous get <bucket>: Policy not set (meaning private)", "mc anonymous list <bucket>: empty (no public access)"',
    how: "asks MinIO for each bucket's policy, which is what both commands do, as the provisioner",
    remedy:
      "pulumi up does not see bucket policies: remove it with `mc anonymous set none <bucket>`, and find who set it",
    async run(target) {
      const [minio, pair] = await Promise.all([target.minio(), target.credentials("provisioner")]);
      const faults = await eachBucket(target, async (bucket) => {
        const { status, body } = await minio.as(pair, { path: `/${bucket}?policy=` });
        if (status === 404 && errorCode(body) === "NoSuchBucketPolicy") return undefined;
        return status === 200
          ? `${bucket} has a bucket policy`
          : `${bucket}: MinIO answers ${status} ${errorCode(body)}`;
      });
      return { seen: `no policy on ${declared(target).length} buckets`, faults };
    },
  },
  {
    id: "buckets.anonymous",
    proves: '"All MinIO buckets in the geocrop project are configured as private with no public access"',
    how: "really asks without any key: GET, HEAD, PUT and DELETE of an object, LIST, versions, uploads, policy, and the list of buckets",
    remedy: "see buckets.private: a bucket policy lets everybody in",
    async run(target) {
      const minio = await target.minio();
      const faults = (
        await Promise.all(
          declared(target).flatMap(([bucket]) =>
            anonymousCalls.map(async ([method, rest]) => {
              const { status } = await minio.anonymous({ method, path: `/${bucket}${rest}` });
              return status === 403
                ? []
                : [`${method} /${bucket}${rest} without a key is answered ${status}`];
            }),
          ),
        )
      ).flat();
      const { status } = await minio.anonymous({ path: "/" });
      if (status !== 403) faults.push(`the list of buckets without a key is answered ${status}`);
      const calls = declared(target).length * anonymousCalls.length + 1;
      return { seen: `403 to ${calls - faults.length} of ${calls} requests without a key`, faults };
    },
  },
  {
    id: "buckets.versioning",
    proves: '"Enable Versioning: For critical buckets to prevent accidental deletion"',
    how: "asks MinIO for each bucket's versioning",
    remedy: "run pulumi up: it enables versioning",
    async run(target) {
      const [minio, pair] = await Promise.all([target.minio(), target.credentials("provisioner")]);
      const faults = await eachBucket(target, async (bucket) => {
        const { status, body } = await minio.as(pair, { path: `/${bucket}?versioning=` });
        if (status !== 200) return `${bucket}: MinIO answers ${status} ${errorCode(body)}`;
        const answer = body.toString("utf8");
        if (/<ExcludedPrefixes>|<ExcludeFolders>true</.test(answer))
          return `${bucket} leaves parts out of versioning`;
        return answer.includes("<Status>Enabled</Status>") ? undefined : `${bucket} is not versioned`;
      });
      return { seen: `enabled on ${declared(target).length} buckets`, faults };
    },
  },
  {
    id: "buckets.quotas",
    proves: '"Implement Bucket Quotas: Prevent any single bucket from consuming all storage"',
    how: "reads each quota back from MinIO's admin API, which the Pulumi provider does not, and compares it with the stack's",
    remedy:
      "change the quota in the stack file and back, with a pulumi up after each: the provider does not see the difference",
    async run(target) {
      const [minio, pair] = await Promise.all([target.minio(), target.credentials("provisioner")]);
      const faults = await eachBucket(target, async (bucket, { quota }) => {
        const live = quotaSchema.parse(await minio.admin(pair, `get-bucket-quota?bucket=${bucket}`));
        if (live.quota !== bytesOf(quota))
          return `${bucket} has a quota of ${live.quota} bytes, not ${quota}`;
        return live.quotatype === "hard" ? undefined : `${bucket} has a quota that is not enforced`;
      });
      const sizes = declared(target).map(([bucket, { quota }]) => `${bucket} ${quota}`);
      return { seen: sizes.join(", "), faults };
    },
  },
  {
    id: "buckets.lifecycle",
    proves: "old versions are cleared away after the declared days, so that versions do not fill the quota",
    how: "compares the days in each bucket's lifecycle rules with the stack's",
    remedy: "run pulumi up",
    async run(target) {
      const [minio, pair] = await Promise.all([target.minio(), target.credentials("provisioner")]);
      const faults = await eachBucket(target, async (bucket, { noncurrentDays, expireDays }) => {
        const { body } = await minio.as(pair, { path: `/${bucket}?lifecycle=` });
        const answer = body.toString("utf8");
        const days = (tag: string) =>
          [...answer.matchAll(new RegExp(`<${tag}>(\\d+)</${tag}>`, "g"))].map(([, text]) => Number(text));
        const old = days("NoncurrentDays");
        const current = days("Days");
        if (old.join() !== String(noncurrentDays))
          return `${bucket}: old versions go after ${old.join() || "no"} days, not ${noncurrentDays}`;
        return current.join() === String(expireDays ?? "")
          ? undefined
          : `${bucket}: objects go after ${current.join() || "no"} days, not ${expireDays ?? "never"}`;
      });
      return { seen: `as declared on ${declared(target).length} buckets`, faults };
    },
  },
  {
    id: "buckets.declared",
    proves: "there is no bucket that nobody declared",
    how: "lists the buckets as the provisioner",
    remedy: "find who made it; take what is wanted into the stack file, delete the rest",
    async run(target) {
      const [minio, pair] = await Promise.all([target.minio(), target.credentials("provisioner")]);
      const { status, body } = await minio.as(pair, { path: "/" });
      if (status !== 200) throw new Error(`MinIO answers ${status} ${errorCode(body)}`);
      const live = [...body.toString("utf8").matchAll(/<Name>([^<]+)<\/Name>/g)].map(([, name = ""]) => name);
      const wanted = declared(target).map(([bucket]) => bucket);
      return {
        seen: `${live.length} buckets`,
        faults: [
          ...live.filter((name) => !wanted.includes(name)).map((name) => `${name} is not declared`),
          ...wanted.filter((name) => !live.includes(name)).map((name) => `${name} is missing`),
        ],
      };
    },
  },
];
