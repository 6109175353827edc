import { rmSync } from "node:fs";
import { join } from "node:path";

import { z } from "zod";

import { alias, Mc } from "./mc.ts";
import type { Applied, Declared, Handler, Location, Run } from "./monitor.ts";
import type { Recorded } from "./state.ts";
import { parseInputs, stable, type Json, type JsonObject } from "./values.ts";

const bucketSchema = z.strictObject({
  bucket: z.string(),
  acl: z.literal("private").default("private"),
  quota: z.int().min(0).default(0),
  forceDestroy: z.boolean().default(false),
  objectLocking: z.boolean().default(false),
});
const versioningSchema = z.strictObject({
  bucket: z.string(),
  versioningConfiguration: z.strictObject({
    status: z.enum(["Enabled", "Suspended"]),
    excludedPrefixes: z.array(z.string()).default([]),
    excludeFolders: z.boolean().default(false),
  }),
});
const ruleSchema = z.strictObject({
  id: z.string(),
  expiration: z
    .string()
    .regex(/^\d+d$|^\d{4}-\d{2}-\d{2}$|^DeleteMarker$/)
    .optional(),
  filter: z.string().default(""),
  noncurrentVersionExpirationDays: z.int().min(1).optional(),
  status: z.enum(["Enabled", "Disabled"]).default("Enabled"),
  tags: z.record(z.string(), z.string()).default({}),
});
const lifecycleSchema = z.strictObject({ bucket: z.string(), rules: z.array(ruleSchema).min(1) });
const userSchema = z.strictObject({
  name: z.string(),
  secret: z.string({ error: "must be given: the embedded deployer makes none up" }),
  disableUser: z.boolean().default(false),
  forceDestroy: z.boolean().default(false),
  updateSecret: z.boolean().default(false), // a new secret is always written
  tags: z.record(z.string(), z.string()).optional(), // kept by the provider, not by MinIO
});
const policySchema = z.strictObject({ name: z.string(), policy: z.string() });
const attachmentSchema = z.strictObject({ userName: z.string(), policyName: z.string() });

const attachedSchema = z.looseObject(attachmentSchema.shape);

/** A provider that can be reached; `minioSsl` arrives as JSON text. */
const connectedSchema = z.looseObject({
  minioServer: z.string(),
  minioUser: z.string(),
  minioPassword: z.string(),
  minioSsl: z.union([z.boolean(), z.stringbool()]).default(false),
  minioCacertFile: z.string().optional(),
});

const liveBucket = z.looseObject({ key: z.string() });
const liveQuota = z.looseObject({ quota: z.number().default(0) });
const liveAccess = z.looseObject({ permission: z.string() });
const liveVersioning = z.looseObject({
  versioning: z.looseObject({
    status: z.string().default(""),
    ExcludedPrefixes: z.array(z.string()).default([]),
    ExcludeFolders: z.boolean().default(false),
  }),
});
const liveLifecycle = z.looseObject({ config: z.looseObject({ Rules: z.array(z.json()).default([]) }) });
const liveUser = z.looseObject({
  accessKey: z.string(),
  policyName: z.string().default(""),
  userStatus: z.string().default("enabled"),
});
const livePolicyName = z.looseObject({ policy: z.string() });
const livePolicy = z.looseObject({ policyInfo: z.looseObject({ Policy: z.json() }) });

/** A lifecycle rule as MinIO keeps it. */
export function lifecycleRule(rule: z.infer<typeof ruleSchema>): JsonObject {
  const tags = Object.entries(rule.tags).map(([Key, Value]) => ({ Key, Value }));
  const [tag] = tags;
  const filter: JsonObject =
    tag === undefined
      ? { Prefix: rule.filter }
      : tags.length === 1 && rule.filter === ""
        ? { Tag: tag }
        : { And: { Prefix: rule.filter, Tags: tags } };
  const { expiration } = rule;
  return {
    ID: rule.id,
    Status: rule.status,
    Filter: filter,
    ...(expiration !== undefined && {
      Expiration: expiration.endsWith("d")
        ? { Days: Number.parseInt(expiration, 10) }
        : expiration === "DeleteMarker"
          ? { ExpiredObjectDeleteMarker: true }
          : { Date: `${expiration}T00:00:00Z` },
    }),
    ...(rule.noncurrentVersionExpirationDays !== undefined && {
      NoncurrentVersionExpiration: { NoncurrentDays: rule.noncurrentVersionExpirationDays },
    }),
  };
}

/**
 * A document of MinIO's in one form: a server may give a single value as a list, a number as text, lists in another order, and
 * leave out or add what is empty.
 */
export function canonical(document: Json): Json {
  if (Array.isArray(document)) {
    return document.flatMap((item) => canonical(item)).toSorted((a, b) => (stable(a) < stable(b) ? -1 : 1));
  }
  if (typeof document === "object" && document !== null) {
    const entries = Object.entries(document).map(([key, value]): [string, Json] => [key, canonical(value)]);
    return Object.fromEntries(entries.filter(([, value]) => !isEmpty(value)));
  }
  return [document === null || document === "" ? [] : String(document)].flat();
}

function isEmpty(value: Json): boolean {
  return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}

function isEqual(a: Json, b: Json): boolean {
  return stable(canonical(a)) === stable(canonical(b));
}

/** One server. What is asked for again and again is asked once. */
class Server {
  readonly mc: Mc;
  readonly address: string;
  #buckets: Promise<Set<string>> | undefined;
  #users: Promise<Map<string, { isEnabled: boolean; policies: Set<string> }>> | undefined;
  #policies: Promise<Set<string>> | undefined;

  constructor(binary: string, directory: string, provider: z.infer<typeof connectedSchema>) {
    const { minioServer, minioUser, minioPassword, minioSsl, minioCacertFile } = provider;
    this.mc = new Mc(binary, directory, {
      server: minioServer,
      ssl: minioSsl,
      user: minioUser,
      password: minioPassword,
      caFile: minioCacertFile,
    });
    this.address = `${minioSsl ? "https" : "http"}://${minioServer}`;
  }

  buckets(): Promise<Set<string>> {
    this.#buckets ??= this.#list(["ls", alias], liveBucket).then(
      (found) => new Set(found.map(({ key }) => key.replace(/\/$/, ""))),
    );
    return this.#buckets;
  }

  users() {
    this.#users ??= this.#list(["admin", "user", "list", alias], liveUser).then(
      (found) =>
        new Map(
          found.map(({ accessKey, policyName, userStatus }) => [
            accessKey,
            { isEnabled: userStatus === "enabled", policies: new Set(policyName.split(",").filter(Boolean)) },
          ]),
        ),
    );
    return this.#users;
  }

  policies(): Promise<Set<string>> {
    this.#policies ??= this.#list(["admin", "policy", "list", alias], livePolicyName).then(
      (found) => new Set(found.map(({ policy }) => policy)),
    );
    return this.#policies;
  }

  async one<T>(args: readonly string[], schema: z.ZodType<T>): Promise<T> {
    const [first] = await this.#list(args, schema);
    if (first === undefined) throw new Error(`mc ${args.join(" ")} said nothing`);
    return first;
  }

  async #list<T>(args: readonly string[], schema: z.ZodType<T>): Promise<T[]> {
    return (await this.mc.run(args)).map((document) => schema.parse(document));
  }
}

interface Plan {
  /** Nothing of it is there yet. */
  readonly isNew: boolean;
  /** What it takes to make the live object what is declared; nothing when it is so already. */
  readonly steps: readonly (() => Promise<unknown>)[];
  readonly outputs: JsonObject;
}

interface Kind {
  locate(inputs: JsonObject): Location;
  plan(server: Server, declared: Declared): Promise<Plan>;
  remove(server: Server, target: JsonObject): Promise<unknown>;
}

/** @param target what it takes to delete the object; its `id` tells one object from the next */
function kind<T>(
  schema: z.ZodType<T>,
  target: (inputs: T) => { id: string } & JsonObject,
  plan: (server: Server, inputs: T, declared: Declared) => Promise<Plan>,
  remove: (server: Server, target: JsonObject, id: string) => Promise<unknown>,
): Kind {
  return {
    locate(inputs) {
      const where = target(parseInputs(schema, inputs));
      return { id: where.id, target: where };
    },
    plan: (server, declared) => plan(server, parseInputs(schema, declared.inputs), declared),
    remove: (server, where) => remove(server, where, z.string().parse(where["id"])),
  };
}

const bucket = kind(
  bucketSchema,
  ({ bucket: id, forceDestroy }) => ({ id, forceDestroy }),
  async (server, { bucket: name, quota, acl, objectLocking }) => {
    const { mc } = server;
    const path = `${alias}/${name}`;
    const isNew = !(await server.buckets()).has(name);
    const [live, access] = isNew
      ? [{ quota: 0 }, { permission: acl }]
      : await Promise.all([
          server.one(["quota", "info", path], liveQuota),
          server.one(["anonymous", "get", path], liveAccess),
        ]);
    const steps: Plan["steps"][number][] = [];
    if (isNew) steps.push(() => mc.run(["mb", ...(objectLocking ? ["--with-lock"] : []), path]));
    if (live.quota !== quota) {
      steps.push(() =>
        mc.run(["quota", ...(quota === 0 ? ["clear"] : ["set", "--size", String(quota)]), path]),
      );
    }
    if (access.permission !== acl) steps.push(() => mc.run(["anonymous", "set", acl, path]));
    return {
      isNew,
      steps,
      outputs: {
        bucket: name,
        acl,
        arn: `arn:aws:s3:::${name}`,
        bucketDomainName: `${server.address}/minio/${name}`,
      },
    };
  },
  async ({ mc }, { forceDestroy }, id) =>
    mc.run(["rb", ...(forceDestroy === true ? ["--force"] : []), `${alias}/${id}`]),
);

const versioning = kind(
  versioningSchema,
  ({ bucket: id }) => ({ id }),
  async (server, { bucket: name, versioningConfiguration: wanted }) => {
    const path = `${alias}/${name}`;
    const isKnown = (await server.buckets()).has(name);
    const live = isKnown
      ? (await server.one(["version", "info", path], liveVersioning)).versioning
      : undefined;
    const isSame =
      live?.status === wanted.status &&
      (wanted.status === "Suspended" ||
        (live.ExcludeFolders === wanted.excludeFolders &&
          isEqual(live.ExcludedPrefixes, wanted.excludedPrefixes)));
    const options = [
      ...(wanted.excludedPrefixes.length > 0
        ? ["--excluded-prefixes", wanted.excludedPrefixes.join(",")]
        : []),
      ...(wanted.excludeFolders ? ["--exclude-folders"] : []),
    ];
    const command = wanted.status === "Enabled" ? ["enable", ...options] : ["suspend"];
    return {
      isNew: live === undefined || live.status === "",
      steps: isSame ? [] : [() => server.mc.run(["version", ...command, path])],
      outputs: {},
    };
  },
  ({ mc }, _target, id) => mc.run(["version", "suspend", `${alias}/${id}`]),
);

const lifecycle = kind(
  lifecycleSchema,
  ({ bucket: id }) => ({ id }),
  async (server, { bucket: name, rules }) => {
    const path = `${alias}/${name}`;
    const wanted = rules.map(lifecycleRule);
    const isKnown = (await server.buckets()).has(name);
    const live = isKnown ? await liveRules(server, path) : [];
    const content = JSON.stringify({ Rules: wanted });
    return {
      isNew: live.length === 0,
      steps: isEqual(live, wanted) ? [] : [() => server.mc.run(["ilm", "rule", "import", path], content)],
      outputs: {},
    };
  },
  ({ mc }, _target, id) => mc.run(["ilm", "rule", "remove", "--all", "--force", `${alias}/${id}`]),
);

async function liveRules(server: Server, path: string): Promise<Json[]> {
  try {
    return (await server.one(["ilm", "rule", "export", path], liveLifecycle)).config.Rules;
  } catch (error) {
    if (error instanceof Error && /lifecycle configuration (?:not set|does not exist)/i.test(error.message))
      return [];
    throw error;
  }
}

const user = kind(
  userSchema,
  ({ name: id }) => ({ id }),
  async (server, { name, secret, disableUser }, { hash, recorded }) => {
    const { mc } = server;
    const live = (await server.users()).get(name);
    const steps: Plan["steps"][number][] = [];
    // No server gives a secret back: whether it is the right one, only the last run's record tells.
    const isWritten = live !== undefined && recorded?.hash === hash;
    if (!isWritten) steps.push(() => mc.run(["admin", "user", "add", alias, name], `${secret}\n`));
    const isEnabled = isWritten ? live.isEnabled : true;
    if (isEnabled === disableUser) {
      steps.push(() => mc.run(["admin", "user", disableUser ? "disable" : "enable", alias, name]));
    }
    return { isNew: live === undefined, steps, outputs: { status: disableUser ? "disabled" : "enabled" } };
  },
  ({ mc }, _target, id) => mc.run(["admin", "user", "remove", alias, id]),
);

const policy = kind(
  policySchema,
  ({ name: id }) => ({ id }),
  async (server, { name, policy: text }) => {
    const isNew = !(await server.policies()).has(name);
    const live = isNew
      ? undefined
      : (await server.one(["admin", "policy", "info", alias, name], livePolicy)).policyInfo.Policy;
    const isSame = live !== undefined && isEqual(live, z.json().parse(JSON.parse(text)));
    const write = () =>
      server.mc.runWithFile((path) => ["admin", "policy", "create", alias, name, path], `${name}.json`, text);
    return { isNew, steps: isSame ? [] : [write], outputs: {} };
  },
  ({ mc }, _target, id) => mc.run(["admin", "policy", "remove", alias, id]),
);

const attachment = kind(
  attachmentSchema,
  ({ userName, policyName }) => ({ id: `${userName}/${policyName}`, userName, policyName }),
  async (server, { userName, policyName }) => {
    const isThere = (await server.users()).get(userName)?.policies.has(policyName) === true;
    const attach = () => server.mc.run(["admin", "policy", "attach", alias, policyName, "--user", userName]);
    return { isNew: !isThere, steps: isThere ? [] : [attach], outputs: {} };
  },
  ({ mc }, target) => {
    const { userName, policyName } = attachedSchema.parse(target);
    return mc.run(["admin", "policy", "detach", alias, policyName, "--user", userName]);
  },
);

const kinds: Readonly<Record<string, Kind>> = {
  "minio:index/s3Bucket:S3Bucket": bucket,
  "minio:index/s3BucketVersioning:S3BucketVersioning": versioning,
  "minio:index/ilmPolicy:IlmPolicy": lifecycle,
  "minio:index/iamUser:IamUser": user,
  "minio:index/iamPolicy:IamPolicy": policy,
  "minio:index/iamUserPolicyAttachment:IamUserPolicyAttachment": attachment,
};

/** mc's words for "there is no such thing (any more)". */
const gone = /does not exist|not exist|not found|NoSuch|no such|not set|already in effect/i;

/** MinIO's buckets, users and policies, by MinIO's own client; only what differs from the live server is written. */
export class MinioObjects implements Handler {
  readonly #binary: string;
  readonly #directory: string;
  readonly #servers = new Map<string, Server>();

  /** @param directory for mc's own files, gone after {@link close} */
  constructor(binary: string, directory: string) {
    this.#binary = binary;
    this.#directory = directory;
  }

  locate({ type, inputs }: Declared): Location {
    return kindOf(type).locate(inputs);
  }

  async apply(declared: Declared, run: Run): Promise<Applied> {
    const { type, recorded, hash, provider } = declared;
    if (run.mode === "destroy") return { change: "same", outputs: {} };
    const server = this.#server(provider);
    if (server === undefined) {
      if (run.mode === "up")
        throw new Error("has no minio.Provider with a server, a user and a password: declare one");
      const change = recorded === undefined ? "create" : recorded.hash === hash ? "same" : "update";
      return { change, outputs: {} };
    }
    const { isNew, steps, outputs } = await kindOf(type).plan(server, declared);
    if (run.mode === "up") for (const step of steps) await step();
    return { change: steps.length === 0 ? "same" : isNew ? "create" : "update", outputs };
  }

  async remove({ type, name, target }: Recorded, provider: JsonObject | undefined, run: Run): Promise<void> {
    const server = this.#server(provider);
    if (server === undefined) {
      run.note(`${name} goes with its server, which is not there`);
      return;
    }
    try {
      await kindOf(type).remove(server, target ?? {});
    } catch (error) {
      if (error instanceof Error && gone.test(error.message)) return;
      throw error;
    }
  }

  close(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** Undefined while (in a preview) the server's address or credentials are not known. */
  #server(provider: JsonObject | undefined): Server | undefined {
    const parsed = connectedSchema.safeParse(provider ?? {});
    if (!parsed.success) return undefined;
    const key = JSON.stringify(parsed.data);
    const known = this.#servers.get(key);
    if (known !== undefined) return known;
    const server = new Server(this.#binary, join(this.#directory, String(this.#servers.size)), parsed.data);
    this.#servers.set(key, server);
    return server;
  }
}

function kindOf(type: string): Kind {
  const known = kinds[type];
  if (known === undefined) {
    throw new Error("the embedded deployer does not know this type of resource: use the Pulumi CLI");
  }
  return known;
}
