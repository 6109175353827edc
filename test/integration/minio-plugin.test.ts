import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { declaredPolicies } from "../../components/access/iam-policies.ts";
import { ensureBuilds } from "../../sandbox/cluster/builds.ts";
import { minioProvider } from "../../sandbox/engine/plugins/minio.ts";
import { layoutOf } from "../../sandbox/layout.ts";
import { runner } from "../../sandbox/run.ts";
import { freePort, type MinioServer, startMinio } from "../support/minio-server.ts";
import { connect } from "../unit/sandbox/engine/plugins/plugin-client.ts";

const s3Bucket = "minio:index/s3Bucket:S3Bucket";
const bucketVersioning = "minio:index/s3BucketVersioning:S3BucketVersioning";
const ilmPolicy = "minio:index/ilmPolicy:IlmPolicy";
const iamUser = "minio:index/iamUser:IamUser";
const iamPolicy = "minio:index/iamPolicy:IamPolicy";
const attachment = "minio:index/iamUserPolicyAttachment:IamUserPolicyAttachment";

const root = { accessKey: "test-root", secretKey: "test-root-password" };
const provisioner = { name: "provisioner", secret: "provisioner-secret-key-of-40-characters" };
const onlyJobs = JSON.stringify({
  Version: "2012-10-17",
  Statement: [{ Effect: "Allow", Action: ["s3:GetObject"], Resource: ["arn:aws:s3:::results/jobs/*"] }],
});

let server: MinioServer;
/** The stand-in as the stack's own provisioner, whose policy it has to do with. */
let plugin: Awaited<ReturnType<typeof connect>>;

const settings = (user: string, password: string) => ({
  minioServer: new URL(server.origin).host,
  minioUser: user,
  minioPassword: password,
  minioSsl: "true",
  minioCacertFile: server.caFile,
});

beforeAll(async () => {
  const step = { note: () => undefined, doing: () => undefined };
  const binaries = await ensureBuilds(layoutOf(), runner(new AbortController().signal), step);
  server = await startMinio({ minio: join(binaries.minio, "minio"), mc: join(binaries.mc, "mc") }, 4);
  const asRoot = await connect(minioProvider);
  await asRoot.configure(settings(root.accessKey, root.secretKey));
  const { provisioner: policy } = declaredPolicies({ protectData: false });
  await asRoot.create(iamPolicy, { name: "geocrop-provisioner", policy });
  await asRoot.create(iamUser, provisioner);
  await asRoot.create(attachment, { userName: provisioner.name, policyName: "geocrop-provisioner" });
  asRoot.close();
  plugin = await connect(minioProvider);
  await plugin.configure(settings(provisioner.name, provisioner.secret));
});

afterAll(async () => {
  plugin.close();
  await server.remove();
});

describe("a bucket", () => {
  test("is made with its quota, read back, changed and deleted", async () => {
    const inputs = { bucket: "results", acl: "private", quota: 5_000_000_000, forceDestroy: false };
    const { id, values } = await plugin.create(s3Bucket, inputs);
    expect(id).toBe("results");
    expect(values).toMatchObject({ ...inputs, arn: "arn:aws:s3:::results" });
    expect(values["bucketDomainName"]).toBe(`${server.origin}/minio/results`);
    await expect(server.mc("quota", "info", "t/results")).resolves.toContain("5000000000");

    const live = await plugin.read(s3Bucket, id, values, inputs);
    expect(live).toMatchObject({ id, values, inputs });
    await expect(plugin.diff(s3Bucket, live.values, inputs, inputs)).resolves.toEqual([]);

    const larger = { ...inputs, quota: 6_000_000_000 };
    await expect(plugin.diff(s3Bucket, values, inputs, larger)).resolves.toEqual(["quota"]);
    const changed = await plugin.update(s3Bucket, id, values, larger);
    expect(changed).toEqual({ ...values, quota: 6_000_000_000 });
    await expect(server.mc("quota", "info", "t/results")).resolves.toContain("6000000000");

    await plugin.remove(s3Bucket, id, changed);
    expect((await plugin.read(s3Bucket, id, changed, larger)).id).toBe("");
    await plugin.remove(s3Bucket, id, changed); // gone already: no error
  });

  test("that exists already is not taken over, and is named", async () => {
    await server.mc("mb", "t/taken");
    await expect(plugin.create(s3Bucket, { bucket: "taken" })).rejects.toThrow(
      'the bucket "taken" exists already',
    );
    const imported = await plugin.read(s3Bucket, "taken");
    expect(imported).toMatchObject({ id: "taken", inputs: { bucket: "taken" } });
    await plugin.remove(s3Bucket, "taken", imported.values);
  });

  test("with objects goes only with forceDestroy, then with all versions", async () => {
    const { id, values } = await plugin.create(s3Bucket, { bucket: "full", forceDestroy: true });
    const versioned = { bucket: "full", versioningConfiguration: { status: "Enabled" } };
    await plugin.create(bucketVersioning, versioned);
    const client = server.client(root);
    for (const name of ["a", "a", "b/c"]) await client.putObject("full", name, "x");
    await client.removeObject("full", "a"); // leaves a marker
    const many = Array.from({ length: 1100 }, (_, index) => `many/${index}`);
    for (let start = 0; start < many.length; start += 50) {
      await Promise.all(many.slice(start, start + 50).map((name) => client.putObject("full", name, "")));
    }
    const kept = plugin.remove(s3Bucket, id, { ...values, forceDestroy: false });
    await expect(kept).rejects.toThrow('the bucket "full" is not empty, and forceDestroy is off');
    await plugin.remove(s3Bucket, id, values);
    await expect(client.bucketExists("full")).resolves.toBe(false);
  });
});

describe("a bucket's configuration", () => {
  beforeAll(async () => {
    await plugin.create(s3Bucket, { bucket: "models" });
  });

  test("versioning is read back as declared; another status is seen, and mended in place", async () => {
    const inputs = { bucket: "models", versioningConfiguration: { status: "Enabled" } };
    const { id, values } = await plugin.create(bucketVersioning, inputs);
    const live = await plugin.read(bucketVersioning, id, values, inputs);
    await expect(plugin.diff(bucketVersioning, live.values, inputs, inputs)).resolves.toEqual([]);
    await server.mc("version", "suspend", "t/models");
    const drifted = await plugin.read(bucketVersioning, id, values, inputs);
    expect(drifted.values["versioningConfiguration"]).toEqual({ status: "Suspended" });
    await expect(plugin.diff(bucketVersioning, drifted.values, inputs, inputs)).resolves.toEqual([
      "versioningConfiguration",
    ]);
    await plugin.update(bucketVersioning, id, drifted.values, inputs);
    await expect(server.mc("version", "info", "t/models")).resolves.toContain('"Enabled"');
  });

  test("lifecycle rules of each form are read back as declared", async () => {
    const rules = [
      { id: "noncurrent-versions", noncurrentVersionExpirationDays: 30 },
      { id: "old-objects", expiration: "90d" },
      { id: "markers", expiration: "DeleteMarker", filter: "jobs/" },
      { id: "dated", expiration: "2040-01-01", tags: { kind: "scratch" } },
    ];
    const inputs = { bucket: "models", rules };
    const { id, values } = await plugin.create(ilmPolicy, inputs);
    const live = await plugin.read(ilmPolicy, id, values, inputs);
    await expect(plugin.diff(ilmPolicy, live.values, live.inputs, inputs)).resolves.toEqual([]);
    expect(live.values).toEqual(values);

    const fewer = { bucket: "models", rules: [rules[0] ?? {}] };
    await expect(plugin.diff(ilmPolicy, values, inputs, fewer)).resolves.toEqual(["rules"]);
    await plugin.update(ilmPolicy, id, values, fewer);
    await expect(server.mc("ilm", "rule", "export", "t/models")).resolves.not.toContain("old-objects");
    await plugin.remove(ilmPolicy, id, values);
    expect((await plugin.read(ilmPolicy, id, values, inputs)).id).toBe("");
  });
});

describe("an identity", () => {
  test("is a user, a policy and their attachment, read back as declared", async () => {
    const secret = "worker-secret-key-1";
    const user = await plugin.create(iamUser, { name: "worker", secret });
    expect([...user.secret]).toEqual(["secret"]);
    expect(user.values).toMatchObject({ name: "worker", status: "enabled", disableUser: false });
    const policy = await plugin.create(iamPolicy, { name: "worker-policy", policy: onlyJobs });
    const pair = { userName: "worker", policyName: "worker-policy" };
    const attached = await plugin.create(attachment, pair);
    await plugin.create(attachment, pair); // there already: no error

    const livePolicy = await plugin.read(iamPolicy, policy.id, {});
    const policyInputs = { name: "worker-policy", policy: onlyJobs };
    await expect(plugin.diff(iamPolicy, livePolicy.values, policyInputs, policyInputs)).resolves.toEqual([]);
    expect((await plugin.read(attachment, attached.id)).values).toEqual(pair);
    expect((await plugin.read(iamUser, "worker")).values).toMatchObject({ status: "enabled" });

    await plugin.remove(attachment, attached.id, pair);
    expect((await plugin.read(attachment, attached.id, pair, pair)).id).toBe("");
    await plugin.remove(iamPolicy, policy.id, policy.values);
    expect((await plugin.read(iamPolicy, policy.id, policy.values)).id).toBe("");
    await plugin.remove(iamUser, user.id, user.values);
    expect((await plugin.read(iamUser, user.id, user.values)).id).toBe("");
    await plugin.remove(iamUser, user.id, user.values); // gone already: no error
  });

  test("gets another secret and is switched off in place; a name replaces it", async () => {
    const inputs = { name: "signer", secret: "signer-secret-key-1" };
    const { id, values } = await plugin.create(iamUser, inputs);
    await plugin.create(iamUser, inputs); // users are upserted
    const next = { ...inputs, secret: "signer-secret-key-2", disableUser: true };
    await expect(plugin.diff(iamUser, values, inputs, next)).resolves.toEqual(["secret", "disableUser"]);
    await expect(plugin.diff(iamUser, values, inputs, { ...inputs, name: "s" })).resolves.toEqual(["+-name"]);
    await expect(plugin.update(iamUser, id, values, next)).resolves.toMatchObject({ status: "disabled" });
    expect((await plugin.read(iamUser, id, values, inputs)).values).toMatchObject({ disableUser: true });
    const asSigner = server.client({ accessKey: "signer", secretKey: next.secret });
    await expect(asSigner.listBuckets()).rejects.toMatchObject({ code: "InvalidAccessKeyId" });
    await plugin.update(iamUser, id, values, { ...next, disableUser: false });
    // Known again, and with no policy.
    await expect(asSigner.listBuckets()).rejects.toMatchObject({ code: "AccessDenied" });
    await plugin.remove(iamUser, id, values);
  });
});

describe("an error", () => {
  test("of a refused call names the call and its code, no secret, and nothing is taken for gone", async () => {
    const stranger = await connect(minioProvider);
    await stranger.configure(settings(provisioner.name, "another-secret-key"));
    const failed: unknown = await stranger
      .read(iamUser, "worker", { name: "worker", secret: "worker-secret-key-9" })
      .catch((error: unknown) => error);
    expect(String(failed)).toContain("MinIO answers 403 SignatureDoesNotMatch to GET user-info");
    expect(String(failed)).not.toMatch(/secret-key/);
    await expect(stranger.read(s3Bucket, "models", { bucket: "models" })).rejects.toThrow(/./);
    stranger.close();
  });

  test("of a server that does not answer is no proof that a bucket is gone", async () => {
    const lost = await connect(minioProvider);
    const minioServer = `127.0.0.1:${await freePort()}`;
    await lost.configure({ ...settings(provisioner.name, provisioner.secret), minioServer });
    await expect(lost.read(s3Bucket, "models", { bucket: "models" })).rejects.toThrow("ECONNREFUSED");
    lost.close();
  });
});
