import { randomUUID } from "node:crypto";
import { connect } from "node:net";
import { join } from "node:path";

import { AwsV4Signer } from "aws4fetch";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { identities, type Identity } from "../../config/names.ts";
import { declaredPolicies } from "../../components/access/iam-policies.ts";
import { ensureBuilds } from "../../sandbox/cluster/builds.ts";
import { layoutOf } from "../../sandbox/layout.ts";
import { runner } from "../../sandbox/run.ts";
import { type Answer, PodHttps } from "../../tools/kube/forward.ts";
import { type Call, errorCode, type KeyPair, Minio } from "../../tools/verify/minio.ts";
import { copyBySignedPut, forgedArchive, forgedPut } from "../../tools/verify/replays.ts";
import {
  type ActionProbe,
  bucketProbes,
  everyAction,
  objectProbes,
  serverProbes,
  unprobed,
} from "../support/minio-actions.ts";
import { seal } from "../../tools/verify/madmin.ts";
import { type MinioServer, startMinio } from "../support/minio-server.ts";

/** What each action is tried on: the kinds of place that the policies tell apart. */
const objects = [
  "geocrop-results/jobs/1/result.tif",
  "geocrop-results/jobs/1/job.json",
  "geocrop-results/elsewhere/file",
  "geocrop-models/model.bin",
  "geocrop-models/jobs/1/job.json",
  "unknown-bucket/jobs/1/result.tif",
];
const buckets = ["geocrop-results", "geocrop-models", "unknown-bucket"];

/**
 * What each identity may do, and on what; everything else is refused. `*` stands for a job's or an object's name.
 * The signer's are by query signature: by header it may do nothing at all.
 */
const allowed: Readonly<Record<Identity, Readonly<Record<string, readonly string[]>>>> = {
  "api-signer": {
    "s3:GetObject": ["geocrop-results/jobs/1/result.tif", "geocrop-results/jobs/1/job.json"],
    "s3:GetObjectVersion": ["geocrop-results/jobs/1/result.tif", "geocrop-results/jobs/1/job.json"],
  },
  worker: {
    "s3:GetObject": ["geocrop-models/model.bin", "geocrop-models/jobs/1/job.json"],
    "s3:GetObjectVersion": ["geocrop-models/model.bin", "geocrop-models/jobs/1/job.json"],
    "s3:ListBucket": ["geocrop-models"],
    // MinIO takes the right to list for the right to list versions, and shows everybody the buckets that they may list.
    "s3:ListBucketVersions": ["geocrop-models"],
    "s3:ListAllMyBuckets": ["the server"],
    "s3:GetBucketLocation": ["geocrop-models"],
    "s3:PutObject": ["geocrop-results/jobs/1/result.tif"],
    "s3:AbortMultipartUpload": ["geocrop-results/jobs/1/result.tif"],
    "s3:ListMultipartUploadParts": ["geocrop-results/jobs/1/result.tif"],
  },
  "job-submitter": { "s3:PutObject": ["geocrop-results/jobs/1/job.json"] },
  provisioner: {
    ...Object.fromEntries(
      [
        "s3:CreateBucket",
        "s3:DeleteBucket",
        "s3:GetBucketLocation",
        "s3:GetBucketObjectLockConfiguration",
        "s3:GetBucketPolicy",
        "s3:DeleteBucketPolicy",
        "s3:GetBucketVersioning",
        "s3:PutBucketVersioning",
        "s3:GetLifecycleConfiguration",
        "s3:PutLifecycleConfiguration",
        "s3:ListBucket",
        "s3:ListBucketVersions",
      ].map((action) => [action, buckets]),
    ),
    ...Object.fromEntries(
      [
        "s3:ListAllMyBuckets",
        "admin:AttachUserOrGroupPolicy",
        "admin:CreatePolicy",
        "admin:CreateUser",
        "admin:DeletePolicy",
        "admin:DeleteUser",
        "admin:EnableUser",
        "admin:GetPolicy",
        "admin:GetUser",
        "admin:ListGroups",
        "admin:ListServiceAccounts",
        "admin:ListUserPolicies",
        "admin:ListUsers",
        "admin:GetBucketQuota",
        "admin:SetBucketQuota",
      ].map((action) => [action, ["the server"]]),
    ),
  },
};

const policies = declaredPolicies({ protectData: true });

interface Trial {
  readonly probe: ActionProbe;
  readonly on: string;
}

const trials: readonly Trial[] = [
  ...objectProbes.flatMap((probe) => objects.map((on) => ({ probe, on }))),
  ...bucketProbes.flatMap((probe) => buckets.map((on) => ({ probe, on }))),
  ...serverProbes.map((probe) => ({ probe, on: "the server" })),
];

const root = { accessKey: "test-root", secretKey: "test-root-password" };
const pairOf = Object.fromEntries(
  [...identities, "granted", "nobody"].map((name) => [
    name,
    { accessKey: `${name}-TESTTESTTEST`, secretKey: randomUUID() },
  ]),
);
const key = (name: string): KeyPair => pairOf[name] ?? root;

let server: MinioServer;
let https: PodHttps;
let minio: Minio;
const versions = new Map<string, string>();
const cleanups: (() => Promise<void> | void)[] = [];

beforeAll(async () => {
  const step = { note: () => undefined, doing: () => undefined };
  const binaries = await ensureBuilds(layoutOf(), runner(new AbortController().signal), step);
  server = await startMinio({ minio: join(binaries.minio, "minio"), mc: join(binaries.mc, "mc") }, 4);
  cleanups.push(server.remove);
  const port = Number(new URL(server.origin).port);
  https = new PodHttps(async () => connect(port, "127.0.0.1"), {
    ca: server.ca.toString("utf8"),
    servername: "localhost",
  });
  cleanups.push(() => https.close());
  minio = new Minio(https, "localhost");

  for (const bucket of [...buckets, "geocrop-baselines"]) {
    await minio.as(root, { method: "PUT", path: `/${bucket}` });
    await server.mc("version", "enable", `t/${bucket}`);
  }
  for (const object of objects) await restore(object);
  for (const identity of identities) await server.addUser(key(identity), policies[identity]);
  await server.addUser(key("granted"), grantOf("s3:ListAllMyBuckets"));
  await server.mc("admin", "user", "add", "t", key("nobody").accessKey, key("nobody").secretKey);
  await server.mc("admin", "user", "add", "t", "other-user", randomUUID());
  await server.mc(
    "admin",
    "user",
    "svcacct",
    "add",
    "t",
    "other-user",
    "--access-key",
    "other-service",
    "--secret-key",
    randomUUID(),
  );
});

afterAll(async () => {
  for (const clean of cleanups.toReversed()) await clean();
});

async function restore(object: string): Promise<void> {
  const { status, headers } = await minio.as(root, { method: "PUT", path: `/${object}`, body: "content" });
  expect(status).toBe(200);
  versions.set(object, String(headers["x-amz-version-id"]));
}

function grantOf(action: string): string {
  const resources = { s3: ["arn:aws:s3:::*"], kms: ["arn:minio:kms:::*"] };
  const Resource = action.startsWith("s3:")
    ? resources.s3
    : action.startsWith("kms:")
      ? resources.kms
      : undefined;
  const statement = { Effect: "Allow", Action: [action], ...(Resource === undefined ? {} : { Resource }) };
  return JSON.stringify({ Version: "2012-10-17", Statement: [statement] });
}

function callOf({ probe: { method, path, headers = {}, body = "" }, on }: Trial): Call {
  const [bucket = "", ...rest] = on === "the server" ? ["geocrop-models"] : on.split("/");
  const place = path
    .replace("{bucket}", bucket)
    .replace("{object}", rest.join("/"))
    .replace("{version}", versions.get(on) ?? "null");
  return { method, path: place, headers, body };
}

/** MinIO's own refusal, for want of the right to it. */
function isRefused({ status, body }: Answer): boolean {
  return status === 403 && (body.length === 0 || errorCode(body) === "AccessDenied");
}

/** Sent with its signature in the query, as the signer's must be. */
async function byQuery(
  pair: KeyPair,
  { method = "GET", path, headers = {}, body = "" }: Call,
): Promise<Answer> {
  const { url } = await new AwsV4Signer({
    method,
    url: `https://localhost${path}`,
    accessKeyId: pair.accessKey,
    secretAccessKey: pair.secretKey,
    service: "s3",
    region: "us-east-1",
    signQuery: true,
  }).sign();
  return https.request(method, url.pathname + url.search, headers, body);
}

const named = ({ probe, on }: Trial) => `${probe.action} on ${on}`;

test("every action of MinIO's is tried, or said why not", () => {
  const tried = new Set(trials.map(({ probe }) => probe.action));
  expect(everyAction.filter((action) => !tried.has(action) && !(action in unprobed))).toEqual([]);
  expect([...tried, ...Object.keys(unprobed)].filter((action) => !everyAction.includes(action))).toEqual([]);
  expect(everyAction.length).toBeGreaterThan(150);
});

describe("each probe asks for its action", () => {
  test("who may do nothing is refused it", async () => {
    const answered: string[] = [];
    for (const trial of trials) {
      const answer = await minio.as(key("nobody"), callOf(trial));
      if (!isRefused(answer)) answered.push(`${named(trial)}: ${answer.status} ${errorCode(answer.body)}`);
    }
    expect(answered).toEqual([]);
  });

  test("who may do only that is not refused it", async () => {
    const refused: string[] = [];
    const sample = [
      ...objectProbes.map((probe) => ({ probe, on: "unknown-bucket/jobs/1/result.tif" })),
      ...bucketProbes.map((probe) => ({ probe, on: "unknown-bucket" })),
      ...serverProbes.map((probe) => ({ probe, on: "the server" })),
    ];
    for (const trial of sample.filter(({ probe }) => probe.onlyRefused === undefined)) {
      const { status } = await minio.as(root, {
        method: "PUT",
        path: `/minio/admin/v3/add-canned-policy?name=${key("granted").accessKey}`,
        body: grantOf(trial.probe.action),
      });
      if (status !== 200) refused.push(`${trial.probe.action} cannot be granted: ${status}`);
      const answer = await minio.as(key("granted"), callOf(trial));
      if (isRefused(answer)) refused.push(named(trial));
      if (trial.on.includes("/")) await restore(trial.on);
    }
    expect(refused).toEqual([]);
  });
});

describe.each(identities)("%s", (identity) => {
  const may = ({ probe, on }: Trial): boolean => allowed[identity][probe.action]?.includes(on) === true;
  const send = identity === "api-signer" ? byQuery : (pair: KeyPair, call: Call) => minio.as(pair, call);

  test("is refused everything but what is its own", async () => {
    const others = trials.filter((trial) => !may(trial));
    const answered: string[] = [];
    for (const trial of others) {
      const answer = await send(key(identity), callOf(trial));
      if (!isRefused(answer)) answered.push(`${named(trial)}: ${answer.status} ${errorCode(answer.body)}`);
    }
    expect(answered).toEqual([]);
    expect(others.length).toBeGreaterThan(200);
  });

  test("may do what is its own", async () => {
    const own = trials.filter(may);
    const refused: string[] = [];
    for (const trial of own) {
      if (isRefused(await send(key(identity), callOf(trial)))) refused.push(named(trial));
      for (const object of objects) if (trial.on === object) await restore(object);
    }
    expect(refused).toEqual([]);
    expect(own.length).toBe(Object.values(allowed[identity]).flat().length);
  });
});

test("the signer may do nothing by header", async () => {
  const answered: string[] = [];
  for (const trial of trials) {
    const answer = await minio.as(key("api-signer"), callOf(trial));
    if (!isRefused(answer)) answered.push(`${named(trial)}: ${answer.status}`);
  }
  expect(answered).toEqual([]);
});

test.each(["api-signer", "worker", "job-submitter"] as const)(
  "%s cannot make itself a key, nor change its own",
  async (identity) => {
    const pair = key(identity);
    const ask = (method: string, path: string, request: unknown) =>
      minio.as(pair, {
        method,
        path: `/minio/admin/v3/${path}`,
        body: seal(pair.secretKey, Buffer.from(JSON.stringify(request))),
      });
    const mine = { accessKey: `mine-${identity}`, secretKey: randomUUID() };
    const password = { secretKey: randomUUID(), status: "enabled" };
    expect(isRefused(await ask("PUT", "add-service-account", mine))).toBe(true);
    expect(isRefused(await ask("PUT", `add-user?accessKey=${pair.accessKey}`, password))).toBe(true);
    expect(
      isRefused(await minio.as(pair, { path: `/minio/admin/v3/user-info?accessKey=${pair.accessKey}` })),
    ).toBe(true);
  },
);

test("a user whom nothing denies it makes itself a key: what the denial is for", async () => {
  const pair = key("granted");
  const answer = await minio.as(pair, {
    method: "PUT",
    path: "/minio/admin/v3/add-service-account",
    body: seal(
      pair.secretKey,
      Buffer.from(JSON.stringify({ accessKey: "mine-granted", secretKey: randomUUID() })),
    ),
  });
  expect(answer.status).toBe(200);
});

// What remains, told in docs/security.md: MinIO has no action to deny this by.
test("temporary keys, which everybody can have of their own, may no more than their user", async () => {
  const { accessKey: accessKeyId, secretKey: secretAccessKey } = key("api-signer");
  const body = "Action=AssumeRole&Version=2011-06-15&DurationSeconds=3600";
  const signer = new AwsV4Signer({
    method: "POST",
    url: "https://localhost/",
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body,
    accessKeyId,
    secretAccessKey,
    service: "sts",
    region: "us-east-1",
  });
  const { headers } = await signer.sign();
  const given = await https.request("POST", "/", { ...Object.fromEntries(headers), host: "localhost" }, body);
  expect(given.status).toBe(200);
  const value = (name: string): string =>
    new RegExp(`<${name}>([^<]+)<`).exec(given.body.toString("utf8"))?.[1] ?? "";
  const temporary = { accessKey: value("AccessKeyId"), secretKey: value("SecretAccessKey") };
  const token = { "x-amz-security-token": value("SessionToken") };
  for (const trial of trials.filter(({ probe }) => probe.onlyRefused === undefined)) {
    const call = callOf(trial);
    const answer = await minio.as(temporary, { ...call, headers: { ...call.headers, ...token } });
    expect(answer.status, named(trial)).toBe(403);
  }
});

/** The known holes of MinIO 7aac2a2 (docs/decisions/0003), by somebody who has seen a URL or knows a key. */
describe("replays of the known holes", () => {
  const target = "geocrop-results/jobs/1/result.tif";
  const send = ({ method = "PUT", path, headers = {}, body = "" }: Call) =>
    https.request(method, path, headers, body);
  const copy = (pair: KeyPair) =>
    copyBySignedPut(pair, "https://localhost", `/${target}`, "/geocrop-models/model.bin");
  const put = async ({ accessKey }: KeyPair) => forgedPut(accessKey, `/${target}`);
  const archive = async ({ accessKey }: KeyPair) => forgedArchive(accessKey, `/${target}`);
  const content = async () => (await minio.as(root, { path: `/${target}` })).body.toString("utf8");

  test.each([
    ["an unsigned copy source beside a signed PUT", copy],
    ["a PUT with an unsigned trailer and a made-up signature", put],
    ["an archive with an unsigned trailer and a made-up signature", archive],
  ])("%s: refused with the signer's key, and nothing is written", async (_, replay) => {
    await restore(target);
    expect((await send(await replay(key("api-signer")))).status).toBe(403);
    expect(await content()).toBe("content");
  });

  test("a signed download with a copy source and replication headers stays a download", async () => {
    await restore(target);
    const headers = {
      "x-amz-copy-source": "/geocrop-models/model.bin",
      "x-minio-source-replication-request": "true",
      "x-minio-replication-server-side-encryption-sealed-key": "none",
    };
    const answer = await byQuery(key("api-signer"), { path: `/${target}`, headers });
    expect([answer.status, answer.body.toString("utf8")]).toEqual([200, "content"]);
  });

  // What remains, told in docs/security.md. These fail once the server is mended: then take the remark out there.
  test("they are real: with a key that may write, which no URL shows, the same requests write", async () => {
    await restore(target);
    expect((await send(await put(key("worker")))).status).toBe(200);
    expect(await content()).toBe("hello");
    await restore(target);
    // A writer may copy only what it may read, so that this one shows it nothing new.
    expect((await send(await copy(key("worker")))).status).toBe(200);
    await restore(target);
    expect((await send(await archive(key("worker")))).status).toBe(200);
    expect(await content()).toBe("hello");
  });
});
