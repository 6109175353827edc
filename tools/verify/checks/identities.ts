import { z } from "zod";

import { identities, type Identity } from "../../../config/names.ts";
import { declaredPolicies } from "../../../components/access/iam-policies.ts";
import type { Check } from "../check.ts";
import { errorCode } from "../minio.ts";
import { readTrail } from "../trail.ts";

const usersSchema = z.record(
  z.string(),
  z.looseObject({
    policyName: z.string().default(""),
    status: z.string().default(""),
    memberOf: z.array(z.unknown()).nullish(),
  }),
);
const keysSchema = z.record(
  z.string(),
  z.looseObject({
    serviceAccounts: z.array(z.unknown()).nullish(),
    stsKeys: z.array(z.unknown()).nullish(),
  }),
);
const groupsSchema = z.array(z.string()).nullable();
const oneOrMore = z.union([z.string(), z.array(z.string())]).transform((value) => [value].flat().toSorted());
const policySchema = z.looseObject({
  Statement: z.array(
    z.looseObject({
      Effect: z.string(),
      Action: oneOrMore,
      Resource: oneOrMore.optional(),
      NotResource: oneOrMore.optional(),
      Condition: z.record(z.string(), z.record(z.string(), z.unknown())).default({}),
    }),
  ),
});

/** What MinIO brings along. They are attached to nobody here. */
const builtIn = new Set(["consoleAdmin", "diagnostics", "readonly", "readwrite", "writeonly"]);

/** MinIO's own pair, which it takes when it is given none. */
const defaultPair = { accessKey: "minioadmin", secretKey: "minioadmin" };

/** What root does when Pulumi makes the provisioner; whatever else it does is somebody's work with root's key. */
const bootstrap =
  /^(?:AddCannedPolicy|InfoCannedPolicy|ListCannedPolicies|RemoveCannedPolicy|AddUser|GetUserInfo|ListUsers|SetUserStatus|RemoveUser|SetPolicyForUserOrGroup|AttachDetachPolicyBuiltin|ListPolicyMappingEntities|ServerInfo|AccountInfo|GetBucketLocation|ListBuckets)$/;

/** A policy in one form: MinIO gives lists in another order, and single values as lists. */
function canonicalPolicy(document: unknown): string {
  const statements = policySchema.parse(document).Statement.map((statement) => {
    const condition = Object.entries(statement.Condition).flatMap(([operator, keys]) =>
      Object.entries(keys).map(
        ([key, value]) => `${operator} ${key} ${[value].flat().map(String).toSorted().join()}`,
      ),
    );
    const { Effect, Action, Resource = [], NotResource = [] } = statement;
    return JSON.stringify([Effect, Action, Resource, NotResource, condition.toSorted()]);
  });
  return statements.toSorted().join("\n");
}

/** The identity that a generated access key belongs to. */
function identityOf(accessKey: string): Identity | undefined {
  return identities.find((identity) => new RegExp(`^${identity}-[A-Z0-9]{12}$`).test(accessKey));
}

export const identityChecks: readonly Check[] = [
  {
    id: "identities.users",
    proves:
      '"Least Privilege: Only authenticated services and users can access storage"; no default or unknown MinIO user',
    how: "lists MinIO's users, and takes only the declared identities' generated keys, each with its one policy",
    remedy:
      "remove a user you do not know with `mc admin user rm`, and look in the audit trail for who made it; else run pulumi up",
    async run(target) {
      const [minio, pair] = await Promise.all([target.minio(), target.credentials("provisioner")]);
      const users = usersSchema.parse(await minio.sealedAdmin(pair, "list-users"));
      const faults: string[] = [];
      const { generation } = target.settings.credentials;
      for (const [accessKey, { policyName, status, memberOf }] of Object.entries(users)) {
        const identity = identityOf(accessKey);
        if (identity === undefined) faults.push(`there is a user "${accessKey}" that nobody declared`);
        else if (policyName !== `geocrop-${identity}`)
          faults.push(`a key of ${identity}'s has the policy "${policyName}"`);
        if (status !== "enabled") faults.push(`a key of ${identity ?? accessKey}'s is ${status}`);
        if ((memberOf ?? []).length > 0) faults.push(`a key of ${identity ?? accessKey}'s is in a group`);
      }
      for (const identity of identities) {
        const known = Object.keys(users).filter((accessKey) => identityOf(accessKey) === identity);
        const { accessKey } = await target.credentials(identity);
        if (!known.includes(accessKey))
          faults.push(`the key in credentials-${identity} is no user of MinIO's`);
        if (known.length > Math.min(generation, 2)) {
          faults.push(
            `${identity} has ${known.length} keys, and generation ${generation} declares ${Math.min(generation, 2)}`,
          );
        }
      }
      return { seen: `${Object.keys(users).length} users, all declared`, faults };
    },
  },
  {
    id: "identities.other-keys",
    proves:
      "there are no service accounts, temporary keys or groups beside the declared users, root's included",
    how: "lists all access keys and groups as the provisioner",
    remedy:
      "remove them with `mc admin accesskey rm` or `mc admin group rm`, and look in the audit trail for who made them",
    async run(target) {
      const [minio, pair] = await Promise.all([target.minio(), target.credentials("provisioner")]);
      const keys = keysSchema.parse(
        await minio.sealedAdmin(pair, "list-access-keys-bulk?listType=all&all=true"),
      );
      const groups = groupsSchema.parse(await minio.admin(pair, "groups")) ?? [];
      const faults = groups.map((group) => `there is a group "${group}"`);
      for (const [user, { serviceAccounts, stsKeys }] of Object.entries(keys)) {
        const whose = identityOf(user) ?? "root or an unknown user";
        const service = (serviceAccounts ?? []).length;
        const temporary = (stsKeys ?? []).length;
        if (service > 0) faults.push(`${service} service accounts of ${whose}`);
        if (temporary > 0) faults.push(`${temporary} temporary keys of ${whose}`);
      }
      return { seen: `none for ${Object.keys(keys).length} users`, faults };
    },
  },
  {
    id: "identities.policies",
    proves: '"Least Privilege": each identity may do what the stack declares, and nothing more',
    how: "reads every policy back from MinIO and compares it, statement by statement, with the stack's",
    remedy:
      "run pulumi up --refresh --run-program, or set the declared policy; remove a policy you do not know",
    async run(target) {
      const [minio, pair] = await Promise.all([target.minio(), target.credentials("provisioner")]);
      const live = z.record(z.string(), z.unknown()).parse(await minio.admin(pair, "list-canned-policies"));
      const declared = new Map(
        Object.entries(declaredPolicies(target.settings)).map(([identity, text]) => [
          `geocrop-${identity}`,
          text,
        ]),
      );
      const faults = Object.keys(live)
        .filter((name) => !declared.has(name) && !builtIn.has(name))
        .map((name) => `there is a policy "${name}" that nobody declared`);
      for (const [name, text] of declared) {
        const found = live[name];
        if (found === undefined) faults.push(`the policy ${name} is missing`);
        else if (canonicalPolicy(found) !== canonicalPolicy(JSON.parse(text)))
          faults.push(`${name} is not as declared`);
      }
      return { seen: `${declared.size} policies as declared`, faults };
    },
  },
  {
    id: "identities.default-pair",
    proves:
      "MinIO's well-known default key pair opens nothing (it is what MinIO runs with when its settings file is missing)",
    how: "signs a request with it",
    remedy: "see whether the Secret minio-config is mounted in MinIO's pods",
    async run(target) {
      const { status, body } = await (await target.minio()).as(defaultPair, { path: "/" });
      return {
        seen: `refused with ${status} ${errorCode(body)}`,
        faults: status === 403 ? [] : [`a request signed with the default pair is answered ${status}`],
      };
    },
  },
  {
    id: "identities.root",
    proves:
      '"Rotate Credentials: Regularly rotate MinIO root access keys"; root is used by nothing but MinIO, and by Pulumi to make the provisioner',
    how: "no pod but MinIO's mounts minio-config, and what the audit trail's newest part shows of root's key is only that; where minio.rootAccess is off, the key opens nothing",
    remedy:
      "find who uses root's key (remotehost and userAgent in the audit trail), give them an identity of their own, turn root's key",
    async run(target) {
      const faults = (await target.pods())
        .filter(({ metadata }) => metadata?.labels?.["app"] !== "minio")
        .filter(({ spec }) => JSON.stringify(spec).includes('"minio-config"'))
        .map(({ metadata }) => `pod ${metadata?.name} mounts or reads minio-config`);
      const { "config.env": config = "" } = await target.secret("minio-config");
      const root = /^export MINIO_ROOT_USER="(.*)"$/m.exec(config)?.[1];
      if (root === undefined) throw new Error("minio-config names no root user");
      target.keepSecret(
        root,
        ...[...config.matchAll(/="(.*)"$/gm)]
          .map(([, value = ""]) => value)
          .filter((value) => value.length > 15),
      );
      if (target.settings.minio.rootAccess === "off") {
        const secretKey = /^export MINIO_ROOT_PASSWORD="(.*)"$/m.exec(config)?.[1] ?? "";
        const { status } = await (await target.minio()).as({ accessKey: root, secretKey }, { path: "/" });
        if (status !== 403) faults.push(`root's key is taken (${status}), although minio.rootAccess is off`);
      }
      const { events } = await readTrail(target);
      const used = events.filter(({ accessKey }) => accessKey === root).map(({ api }) => api.name);
      const other = used.filter((name) => !bootstrap.test(name));
      faults.push(
        ...[...new Set(other)].map(
          (name) => `root's key was used for ${name}, ${other.filter((one) => one === name).length} times`,
        ),
      );
      return {
        seen: `${used.length} of ${events.length} audited requests were root's, all of them to make the provisioner`,
        faults,
      };
    },
  },
];
