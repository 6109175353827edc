import { randomBytes } from "node:crypto";

import type { Client } from "minio";
import { z } from "zod";

import {
  codeOf,
  MinioConnection,
  settingsSchema,
  type AdminCall,
  type MinioSettings,
} from "./minio-connection.ts";
import { PartlyCreatedError, resourceType, type Provider } from "./provider.ts";
import { canonicalJson, isEqual, type Json, type JsonObject } from "./wire.ts";

const bucketInputs = z.object({
  bucket: z.string({ error: "must be given: the stand-in makes no names up" }),
  acl: z.literal("private").default("private"),
  quota: z.int().min(0).optional(), // bytes
  forceDestroy: z.boolean().default(false),
  objectLocking: z.boolean().default(false),
});
const versioningSchema = z.strictObject({
  status: z.enum(["Enabled", "Suspended"]),
  excludedPrefixes: z.array(z.string()).optional(),
  excludeFolders: z.boolean().optional(),
});
const versioningInputs = z.object({ bucket: z.string(), versioningConfiguration: versioningSchema });
const ruleSchema = z.strictObject({
  id: z.string(),
  expiration: z
    .string()
    .regex(/^\d+d$|^\d{4}-\d{2}-\d{2}$|^DeleteMarker$/, 'must be like "5d", "1970-01-01" or "DeleteMarker"')
    .optional(),
  filter: z.string().optional(),
  noncurrentVersionExpirationDays: z.int().min(1).optional(),
  tags: z.record(z.string(), z.string()).optional(),
  status: z.string().optional(), // an output: declared rules are always enabled
});
type Rule = z.infer<typeof ruleSchema>;
const lifecycleInputs = z.object({ bucket: z.string(), rules: z.array(ruleSchema).min(1) });
const userInputs = z.object({
  name: z.string(),
  secret: z.string().optional(),
  disableUser: z.boolean().default(false),
  // The official 0.17.1 deletes such a user at any update (upstream issue 582); here it changes nothing.
  forceDestroy: z.boolean().default(false),
  updateSecret: z.literal(false).default(false),
  tags: z.record(z.string(), z.string()).optional(), // kept in the state, not by MinIO
});
const policyInputs = z.object({
  name: z.string({ error: "must be given: the stand-in makes no names up" }),
  policy: z.string().refine(isJson, "must be JSON"),
});
const attachmentInputs = z.object({ userName: z.string(), policyName: z.string() });

const liveUserSchema = z.looseObject({ status: z.string(), policyName: z.string().default("") });
const liveVersioningSchema = z
  .looseObject({
    Status: z.string().optional(),
    ExcludedPrefixes: oneOrMore(z.looseObject({ Prefix: z.coerce.string() })).optional(),
    ExcludeFolders: z.union([z.boolean(), z.stringbool()]).optional(),
  })
  .catch({});
const liveTagSchema = z.looseObject({ Key: z.coerce.string(), Value: z.coerce.string() });
const liveRuleSchema = z.looseObject({
  ID: z.coerce.string(),
  Status: z.string(),
  Expiration: z
    .looseObject({
      Days: z.coerce.number().optional(),
      Date: z.coerce.string().optional(),
      ExpiredObjectDeleteMarker: z.union([z.boolean(), z.stringbool()]).optional(),
    })
    .optional(),
  NoncurrentVersionExpiration: z.looseObject({ NoncurrentDays: z.coerce.number() }).optional(),
  Filter: z
    .looseObject({
      Prefix: z.coerce.string().optional(),
      Tag: liveTagSchema.optional(),
      And: z
        .looseObject({ Prefix: z.coerce.string().optional(), Tag: oneOrMore(liveTagSchema).default([]) })
        .optional(),
    })
    .or(z.literal("").transform(() => ({})))
    .default({}),
});
const liveLifecycleSchema = z.looseObject({ Rule: oneOrMore(liveRuleSchema).default([]) });

/** What the admin API is asked, by what it is for. Source: madmin-go v3.0.109. */
export const adminCalls = {
  setQuota: (bucket: string, bytes: number): AdminCall => ({
    method: "PUT",
    path: `set-bucket-quota?${query({ bucket })}`,
    // Servers from 2024 on read `size`, older ones `quota`.
    body: bytes === 0 ? { quota: 0, size: 0 } : { quota: bytes, size: bytes, quotatype: "hard" },
  }),
  writeUser: (name: string, secret: string, isDisabled: boolean): AdminCall => ({
    method: "PUT",
    path: `add-user?${query({ accessKey: name })}`,
    body: { secretKey: secret, status: isDisabled ? "disabled" : "enabled" },
    isSealed: true,
  }),
  setUserStatus: (name: string, isDisabled: boolean): AdminCall => ({
    method: "PUT",
    path: `set-user-status?${query({ accessKey: name, status: isDisabled ? "disabled" : "enabled" })}`,
  }),
  readUser: (name: string): AdminCall => ({ method: "GET", path: `user-info?${query({ accessKey: name })}` }),
  removeUser: (name: string): AdminCall => ({
    method: "DELETE",
    path: `remove-user?${query({ accessKey: name })}`,
  }),
  writePolicy: (name: string, policy: string): AdminCall => ({
    method: "PUT",
    path: `add-canned-policy?${query({ name })}`,
    body: policy,
  }),
  readPolicy: (name: string): AdminCall => ({ method: "GET", path: `info-canned-policy?${query({ name })}` }),
  removePolicy: (name: string): AdminCall => ({
    method: "DELETE",
    path: `remove-canned-policy?${query({ name })}`,
  }),
  associate: (change: "attach" | "detach", user: string, policy: string): AdminCall => ({
    method: "POST",
    path: `idp/builtin/policy/${change}`,
    body: { policies: [policy], user },
    isSealed: true,
  }),
} as const;

const bucket = resourceType({
  inputs: bucketInputs,
  computed: ["arn", "bucketDomainName"],
  replaceOnChange: ["bucket"],
  create: async ({ bucket: name, quota = 0, objectLocking }, connection: MinioConnection) => {
    const { minioRegion } = connection.settings;
    if (await connection.s3((s3) => s3.bucketExists(name))) {
      throw new Error(`the bucket "${name}" exists already: import it, or delete it`);
    }
    await connection.s3((s3) => s3.makeBucket(name, minioRegion, { ObjectLocking: objectLocking }));
    const created = { id: name, outputs: bucketOutputs(name, connection) };
    try {
      if (quota > 0) await connection.admin(adminCalls.setQuota(name, quota));
    } catch (error) {
      throw new PartlyCreatedError(created, error);
    }
    return created;
  },
  // Like the official provider's, this reads neither quota nor acl back: what others change of them stays unseen.
  // Unlike it, this takes only "no such bucket" for gone: a server that can't be reached or that refuses is an error.
  read: async (id, state, connection: MinioConnection) => {
    if (!(await connection.s3((s3) => s3.bucketExists(id)))) return undefined;
    const defaults = { acl: "private", forceDestroy: false, objectLocking: false };
    return { id, outputs: { ...defaults, ...state, bucket: id, ...bucketOutputs(id, connection) } };
  },
  update: async ({ bucket: name, quota = 0, objectLocking }, { state }, connection: MinioConnection) => {
    // The official provider ignores such a change; it could not be made.
    if (objectLocking !== (state["objectLocking"] ?? false)) {
      throw new Error(
        `objectLocking of the bucket "${name}" can't change: it is chosen when a bucket is made`,
      );
    }
    // Written even if it is the recorded one: a run that failed half-way may have recorded it only.
    await connection.admin(adminCalls.setQuota(name, quota));
    return bucketOutputs(name, connection);
  },
  delete: async (id, { forceDestroy }, connection: MinioConnection) => {
    const remove = () => connection.s3((s3) => s3.removeBucket(id));
    await unlessGone(["NoSuchBucket"], async () => {
      try {
        await remove();
      } catch (error) {
        if (codeOf(error) !== "BucketNotEmpty") throw error;
        if (forceDestroy !== true) {
          throw new Error(`the bucket "${id}" is not empty, and forceDestroy is off`, { cause: error });
        }
        await emptyBucket(id, connection);
        await remove();
      }
    });
  },
});

const versioning = resourceType({
  inputs: versioningInputs,
  computed: [],
  replaceOnChange: ["bucket"],
  isSame: { versioningConfiguration: sameBy((value) => normalVersioning(versioningSchema.parse(value))) },
  create: async (inputs, connection: MinioConnection) => {
    await writeVersioning(inputs, connection);
    return { id: inputs.bucket, outputs: {} };
  },
  read: (id, _state, connection: MinioConnection) =>
    unlessGone(["NoSuchBucket"], async () => {
      const live = liveVersioningSchema.parse(await connection.s3((s3) => s3.getBucketVersioning(id)));
      const configuration = {
        status: live.Status ?? "",
        excludedPrefixes: (live.ExcludedPrefixes ?? []).map(({ Prefix }) => Prefix),
        excludeFolders: live.ExcludeFolders ?? false,
      };
      return { id, outputs: { bucket: id, versioningConfiguration: withoutEmpty(configuration) } };
    }),
  update: async (inputs, _before, connection: MinioConnection) => {
    await writeVersioning(inputs, connection);
    return {};
  },
  // A bucket that had versions can't be without versioning any more, only suspend it.
  delete: async (id, _state, connection: MinioConnection) => {
    const suspended = { bucket: id, versioningConfiguration: { status: "Suspended" } as const };
    await unlessGone(["NoSuchBucket"], () => writeVersioning(suspended, connection));
  },
});

const lifecycle = resourceType({
  inputs: lifecycleInputs,
  computed: [],
  replaceOnChange: ["bucket"],
  isSame: { rules: sameBy((value) => z.array(ruleSchema).parse(value).map(normalRule)) },
  create: async (inputs, connection: MinioConnection) => {
    await writeLifecycle(inputs, connection);
    return { id: inputs.bucket, outputs: { rules: inputs.rules.map(normalRule) } };
  },
  // Unlike the official provider's, this takes only "no such bucket" and "no such configuration" for gone.
  read: (id, _state, connection: MinioConnection) =>
    unlessGone(["NoSuchBucket", "NoSuchLifecycleConfiguration"], async () => {
      const live = await connection.s3((s3) => s3.getBucketLifecycle(id));
      const rules = liveLifecycleSchema.parse(live).Rule.map(readRule);
      return { id, outputs: { bucket: id, rules } };
    }),
  update: async (inputs, _before, connection: MinioConnection) => {
    await writeLifecycle(inputs, connection);
    return { rules: inputs.rules.map(normalRule) };
  },
  delete: async (id, _state, connection: MinioConnection) => {
    await unlessGone(["NoSuchBucket", "NoSuchLifecycleConfiguration"], () =>
      connection.s3((s3) => s3.removeBucketLifecycle(id)),
    );
  },
});

const user = resourceType({
  inputs: userInputs,
  computed: ["status"],
  secrets: ["secret"],
  replaceOnChange: ["name"],
  create: async (
    { name, secret = randomBytes(30).toString("base64url"), disableUser },
    connection: MinioConnection,
  ) => {
    await connection.admin(adminCalls.writeUser(name, secret, disableUser));
    return { id: name, outputs: { secret, status: disableUser ? "disabled" : "enabled" } };
  },
  // No server gives a secret back: another one written by somebody else stays unseen.
  read: (id, state, connection: MinioConnection) =>
    unlessGone(["XMinioAdminNoSuchUser"], async () => {
      const { status } = await readUser(id, connection);
      const defaults = { forceDestroy: false, updateSecret: false };
      const disableUser = status === "disabled";
      return { id, outputs: { ...defaults, ...state, name: id, status, disableUser } };
    }),
  update: async ({ name, secret, disableUser }, { state }, connection: MinioConnection) => {
    const status = disableUser ? "disabled" : "enabled";
    const known = z.string().optional().parse(state["secret"]);
    if (secret !== undefined && secret !== known) {
      await connection.admin(adminCalls.writeUser(name, secret, disableUser));
    } else if (status !== state["status"]) {
      await connection.admin(adminCalls.setUserStatus(name, disableUser));
    }
    const kept = secret ?? known;
    return { status, ...(kept !== undefined && { secret: kept }) };
  },
  delete: async (id, _state, connection: MinioConnection) => {
    await unlessGone(["XMinioAdminNoSuchUser"], () => connection.admin(adminCalls.removeUser(id)));
  },
});

const policy = resourceType({
  inputs: policyInputs,
  computed: [],
  replaceOnChange: ["name"],
  isSame: { policy: (before, after) => isSamePolicy(before, after) },
  create: async ({ name, policy: text }, connection: MinioConnection) => {
    await connection.admin(adminCalls.writePolicy(name, text));
    return { id: name, outputs: {} };
  },
  read: (id, state, connection: MinioConnection) =>
    unlessGone(["XMinioAdminNoSuchPolicy"], async () => {
      const live = (await connection.admin(adminCalls.readPolicy(id))).trim();
      const known = state["policy"];
      const text = known !== undefined && isSamePolicy(known, live) ? known : live;
      return { id, outputs: { name: id, policy: text } };
    }),
  update: async ({ name, policy: text }, _before, connection: MinioConnection) => {
    await connection.admin(adminCalls.writePolicy(name, text));
    return {};
  },
  delete: async (id, _state, connection: MinioConnection) => {
    await unlessGone(["XMinioAdminNoSuchPolicy"], () => connection.admin(adminCalls.removePolicy(id)));
  },
});

/** Its id is `<user>/<policy>`, by which the official provider's is imported, too. */
const attachment = resourceType({
  inputs: attachmentInputs,
  computed: [],
  replaceOnChange: ["userName", "policyName"],
  create: async ({ userName, policyName }, connection: MinioConnection) => {
    await unlessGone(["XMinioAdminPolicyChangeAlreadyApplied"], () =>
      connection.admin(adminCalls.associate("attach", userName, policyName)),
    );
    return { id: `${userName}/${policyName}`, outputs: {} };
  },
  read: (id, state, connection: MinioConnection) =>
    unlessGone(["XMinioAdminNoSuchUser"], async () => {
      const [, fromUser, fromPolicy] = /^([^/]+)\/(.+)$/.exec(id) ?? [];
      const { userName, policyName } = attachmentInputs.parse({
        userName: state["userName"] ?? fromUser,
        policyName: state["policyName"] ?? fromPolicy,
      });
      const attached = (await readUser(userName, connection)).policyName.split(",");
      return attached.includes(policyName) ? { id, outputs: { userName, policyName } } : undefined;
    }),
  delete: async (_id, state, connection: MinioConnection) => {
    const { userName, policyName } = attachmentInputs.parse(state);
    const gone = [
      "XMinioAdminPolicyChangeAlreadyApplied",
      "XMinioAdminNoSuchUser",
      "XMinioAdminNoSuchPolicy",
    ];
    await unlessGone(gone, () => connection.admin(adminCalls.associate("detach", userName, policyName)));
  },
});

/**
 * Buckets, users and policies as the official provider 0.17.1 (terraform-provider-minio v1.20.1) has them. The inputs
 * that make names up (`bucketPrefix`, `namePrefix`) are not known, nor the acls that open a bucket to the public.
 */
export const minioProvider: Provider<MinioConnection> = {
  name: "minio",
  settings: settingsSchema,
  secretSettings: ["minioPassword"],
  connect: (settings) => new MinioConnection(parseSettings(settings)),
  types: {
    "minio:index/s3Bucket:S3Bucket": bucket,
    "minio:index/s3BucketVersioning:S3BucketVersioning": versioning,
    "minio:index/ilmPolicy:IlmPolicy": lifecycle,
    "minio:index/iamUser:IamUser": user,
    "minio:index/iamPolicy:IamPolicy": policy,
    "minio:index/iamUserPolicyAttachment:IamUserPolicyAttachment": attachment,
  },
};

function parseSettings(settings: JsonObject): MinioSettings {
  return settingsSchema.parse(settings);
}

function bucketOutputs(name: string, { origin }: MinioConnection): JsonObject {
  return { arn: `arn:aws:s3:::${name}`, bucketDomainName: `${origin}/minio/${name}` };
}

/**
 * Deletes every version of every object, a page at a time. Each page is listed from the start and ends before S3's 1,000:
 * minio-js 8.0.7 signs the request for a second page of versions wrongly.
 */
async function emptyBucket(name: string, connection: MinioConnection): Promise<void> {
  for (;;) {
    const page = await listPage(name, connection);
    if (page.length === 0) return;
    const results = await connection.s3((s3) => s3.removeObjects(name, page));
    const failed = results.filter((result) => result !== null && result !== undefined && "Code" in result);
    if (failed.length > 0) {
      throw new Error(`${failed.length} objects of the bucket "${name}" could not be deleted`);
    }
  }
}

async function listPage(name: string, connection: MinioConnection) {
  const page: { name: string; versionId: string }[] = [];
  const listing = await connection.s3(async (s3) => s3.listObjects(name, "", true, { IncludeVersion: true }));
  for await (const item of listing) {
    page.push(z.object({ name: z.string(), versionId: z.string() }).parse(item));
    if (page.length === 900) break;
  }
  return page;
}

async function writeVersioning(
  { bucket: name, versioningConfiguration }: z.infer<typeof versioningInputs>,
  connection: MinioConnection,
): Promise<void> {
  const { status, excludedPrefixes = [], excludeFolders = false } = versioningConfiguration;
  const content = {
    Status: status,
    ...(excludedPrefixes.length > 0 && { ExcludedPrefixes: excludedPrefixes.map((Prefix) => ({ Prefix })) }),
    ...(excludeFolders && { ExcludeFolders: true }),
  };
  await connection.s3((s3) => s3.setBucketVersioning(name, content));
}

async function writeLifecycle(
  { bucket: name, rules }: z.infer<typeof lifecycleInputs>,
  connection: MinioConnection,
): Promise<void> {
  // minio-js's type of a rule knows no expiration without days; what it sends is what it is given.
  const configuration = z
    .custom<Parameters<Client["setBucketLifecycle"]>[1]>()
    .parse({ Rule: rules.map(lifecycleRule) });
  await connection.s3((s3) => s3.setBucketLifecycle(name, configuration));
}

/** A lifecycle rule as S3's XML has it. */
export function lifecycleRule({ id, expiration, filter = "", tags = {}, ...rule }: Rule) {
  const Tag = Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));
  const days = rule.noncurrentVersionExpirationDays;
  return {
    ID: id,
    Status: "Enabled",
    Filter: Tag.length > 0 ? { And: { Prefix: filter, Tag } } : { Prefix: filter },
    ...(expiration !== undefined && {
      Expiration: expiration.endsWith("d")
        ? { Days: Number.parseInt(expiration, 10) }
        : expiration === "DeleteMarker"
          ? { ExpiredObjectDeleteMarker: true }
          : { Date: `${expiration}T00:00:00Z` },
    }),
    ...(days !== undefined && { NoncurrentVersionExpiration: { NoncurrentDays: days } }),
  };
}

function readRule({
  ID,
  Status,
  Expiration = {},
  NoncurrentVersionExpiration,
  Filter,
}: z.infer<typeof liveRuleSchema>) {
  const { Days, Date: date, ExpiredObjectDeleteMarker } = Expiration;
  const filter = z
    .looseObject({
      Prefix: z.string().default(""),
      Tag: liveTagSchema.optional(),
      And: z.looseObject({ Prefix: z.string().default(""), Tag: z.array(liveTagSchema) }).optional(),
    })
    .parse(Filter);
  const tags = filter.And?.Tag ?? (filter.Tag === undefined ? [] : [filter.Tag]);
  const expiration =
    ExpiredObjectDeleteMarker === true ? "DeleteMarker" : Days ? `${Days}d` : date?.slice(0, 10);
  return normalRule({
    id: ID,
    status: Status,
    expiration,
    filter: filter.And?.Prefix ?? filter.Prefix,
    noncurrentVersionExpirationDays: NoncurrentVersionExpiration?.NoncurrentDays,
    tags: Object.fromEntries(tags.map(({ Key, Value }) => [Key, Value])),
  });
}

/** A rule in one form, whatever of it is said by leaving it out. */
function normalRule({ status = "Enabled", ...rule }: Rule): JsonObject {
  return { ...withoutEmpty(rule), status };
}

function normalVersioning(configuration: z.infer<typeof versioningSchema>): JsonObject {
  return withoutEmpty(configuration);
}

function withoutEmpty(value: object): JsonObject {
  const isEmpty = (item: unknown) =>
    item === undefined ||
    item === "" ||
    item === false ||
    item === 0 ||
    (typeof item === "object" && item !== null && Object.keys(item).length === 0);
  return z
    .record(z.string(), z.json())
    .parse(Object.fromEntries(Object.entries(value).filter(([, item]) => !isEmpty(item))));
}

function sameBy(normal: (value: Json) => Json): (before: Json, after: Json) => boolean {
  return (before, after) => isEqual(normal(before), normal(after));
}

/** Whether two policies mean the same: one value or a list of one, lists in any order. */
function isSamePolicy(before: Json, after: Json): boolean {
  const document = (text: Json): Json => canonical(z.json().parse(JSON.parse(z.string().parse(text))));
  return isEqual(document(before), document(after));
}

function canonical(document: Json): Json {
  if (Array.isArray(document)) {
    return document
      .flatMap((item) => canonical(item))
      .toSorted((a, b) => (canonicalJson(a) < canonicalJson(b) ? -1 : 1));
  }
  if (typeof document === "object" && document !== null) {
    return Object.fromEntries(Object.entries(document).map(([key, value]) => [key, canonical(value)]));
  }
  return [document === null || document === "" ? [] : String(document)].flat();
}

async function readUser(name: string, connection: MinioConnection) {
  return liveUserSchema.parse(JSON.parse(await connection.admin(adminCalls.readUser(name))));
}

/** @returns undefined when MinIO's answer is one of these codes */
async function unlessGone<T>(codes: readonly string[], work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (codes.includes(codeOf(error))) return undefined;
    throw error;
  }
}

function query(parameters: Readonly<Record<string, string>>): string {
  return new URLSearchParams(parameters).toString();
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function oneOrMore<T extends z.ZodType>(item: T) {
  return z.union([z.array(item), item.transform((one) => [one])]);
}
