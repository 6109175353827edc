import { describe, expect, test } from "vitest";

import { meaningOf, optionRisk } from "../../../../tools/preview/meaning.ts";
import { planChanges } from "../../../../tools/preview/plan.ts";
import { diffProperties } from "../../../../tools/preview/properties.ts";
import {
  secret,
  unknown,
  type JsonObject,
  type Recording,
  type Resource,
} from "../../../../tools/program/recording.ts";
import { replacingPaths } from "../../../../tools/preview/replacement.ts";
import { resource } from "../../../support/preview-resource.ts";

const statefulSet = "kubernetes:apps/v1:StatefulSet";
const secretType = "kubernetes:core/v1:Secret";
const bucketType = "minio:index/s3Bucket:S3Bucket";
const mutable = { enableSecretMutable: "true", enableConfigMapMutable: "true" };

const program = (...resources: Resource[]): Recording => ({ resources, outputs: {} });
const plan = (before: Recording, after: Recording) => planChanges(before, after);
const operations = (before: Recording, after: Recording) =>
  Object.fromEntries(
    plan(before, after).changes.map(({ resource, operation }) => [resource.name, operation]),
  );

describe("a difference between properties", () => {
  const cases: readonly [what: string, before: JsonObject, after: JsonObject, paths: readonly string[]][] = [
    ["in nothing", { a: { b: [1] } }, { a: { b: [1] } }, []],
    ["in the order of keys", { a: 1, b: 2 }, { b: 2, a: 1 }, []],
    ["in a field", { a: { b: 1 } }, { a: { b: 2 } }, ["a.b"]],
    ["in a key with dots", { a: { "b.c/d": "1" } }, { a: {} }, ['a["b.c/d"]']],
    [
      "in one named element",
      { e: [{ name: "x", value: "1" }] },
      { e: [{ name: "y" }, { name: "x", value: "2" }] },
      ["e[x].value", "e[y]"],
    ],
    [
      "in a claim",
      { c: [{ metadata: { name: "data" }, size: 1 }] },
      { c: [{ metadata: { name: "data" }, size: 2 }] },
      ["c[data].size"],
    ],
    ["in a plain list", { a: [1, 2] }, { a: [2, 1] }, ["a"]],
    ["in a list with a name twice", { a: [{ name: "x" }, { name: "x" }] }, { a: [{ name: "x" }] }, ["a"]],
    ["in a JSON document", { p: '{"s":[1]}' }, { p: '{"s":[2]}' }, ["p.s"]],
    ["in a JSON document's writing", { p: '{"s":1}' }, { p: '{ "s": 1 }' }, ["p"]],
    ["in a secret", { s: secret("a") }, { s: secret("b") }, ["s"]],
    ["in nothing that is known", { u: unknown }, { u: unknown }, []],
    ["in what became known", { u: unknown }, { u: 1 }, ["u"]],
  ];
  test.each(cases)("%s", (_, before, after, paths) => {
    expect(diffProperties(before, after).map(({ path }) => path)).toEqual(paths);
  });
});

describe("what makes a resource be replaced", () => {
  const cases: readonly [
    type: string,
    path: string,
    replaces: boolean,
    provider?: JsonObject,
    inputs?: JsonObject,
  ][] = [
    [statefulSet, "spec.volumeClaimTemplates[data].spec.resources.requests.storage", true],
    [statefulSet, "spec.selector.matchLabels.app", true],
    [statefulSet, "spec.serviceName", true],
    [statefulSet, "spec.podManagementPolicy", true],
    [statefulSet, "spec.template.spec.containers[minio].image", false],
    [statefulSet, "spec.replicas", false],
    [statefulSet, "metadata.name", true],
    [statefulSet, "metadata.namespace", true],
    [statefulSet, "metadata.labels.app", false],
    ["kubernetes:apps/v1:Deployment", "spec.selector.matchLabels.app", true],
    ["kubernetes:core/v1:PersistentVolumeClaim", "spec.storageClassName", true],
    ["kubernetes:core/v1:PersistentVolumeClaim", "spec.resources.requests.storage", false],
    ["kubernetes:core/v1:Service", "spec.clusterIP", true],
    ["kubernetes:core/v1:Service", "spec.type", false],
    [secretType, "data.key", false, mutable],
    [secretType, "data.key", true],
    [secretType, "data.key", true, mutable, { immutable: true }],
    [secretType, "type", true, mutable],
    ["kubernetes:core/v1:ConfigMap", "data.key", false, mutable],
    ["kubernetes:core/v1:ConfigMap", "data.key", true],
    [bucketType, "bucket", true],
    [bucketType, "quota", false],
    [bucketType, "acl", false],
    ["minio:index/iamUser:IamUser", "name", true],
    ["minio:index/iamUser:IamUser", "secret", false],
    ["minio:index/iamPolicy:IamPolicy", "policy.Statement[Read].Action", false],
    ["minio:index/iamUserPolicyAttachment:IamUserPolicyAttachment", "policyName", true],
    ["pulumi:providers:minio", "minioServer", false],
    ["pulumi:providers:kubernetes", "context", true],
    ["random:index/randomPassword:RandomPassword", "length", true],
    ["tls:index/selfSignedCert:SelfSignedCert", "subject.commonName", true],
    ["tls:index/selfSignedCert:SelfSignedCert", "earlyRenewalHours", false],
  ];
  test.each(cases)("%s by %s: %s", (type, path, replaces, provider = {}, inputs = {}) => {
    expect(replacingPaths({ type, inputs, replaceOnChanges: [] }, [{ path }], provider)).toEqual(
      replaces ? [path] : [],
    );
  });

  test("is also what the program asks for", () => {
    const replaced = { type: bucketType, inputs: {}, replaceOnChanges: ["quota"] };
    expect(replacingPaths(replaced, [{ path: "quota" }, { path: "acl" }], {})).toEqual(["quota"]);
    expect(replacingPaths({ ...replaced, replaceOnChanges: ["*"] }, [{ path: "acl" }], {})).toEqual(["acl"]);
  });
});

describe("a plan", () => {
  const bucket = resource(bucketType, "models", { bucket: "models", quota: 1 });

  test("tells what comes, changes and goes", () => {
    const raised = resource(bucketType, "models", { bucket: "models", quota: 2 });
    const other = resource(bucketType, "tiles", { bucket: "tiles" });
    expect(operations(program(bucket), program(raised, other))).toEqual({
      models: "update",
      tiles: "create",
    });
    expect(operations(program(bucket, other), program(bucket))).toEqual({ tiles: "delete" });
    expect(operations(program(bucket), program(bucket))).toEqual({});
  });

  test("leaves out what the program says to ignore", () => {
    const ignoring = resource(
      bucketType,
      "models",
      { bucket: "models", quota: 2 },
      { ignoreChanges: ["quota"] },
    );
    expect(operations(program(bucket), program(ignoring))).toEqual({});
  });

  test("follows aliases, a parent's too", () => {
    const parent = resource("geocrop:storage:Old", "old", {}, { custom: false });
    const child = resource(bucketType, "old-bucket", { bucket: "b" }, { parent: parent.urn });
    const renamed = resource(
      "geocrop:storage:New",
      "new",
      {},
      {
        custom: false,
        aliases: [{ type: "geocrop:storage:Old", name: "old" }],
      },
    );
    const moved = resource(bucketType, "new-bucket", { bucket: "b" }, { parent: renamed.urn });
    expect(operations(program(parent, child), program(renamed, moved))).toEqual({});
    const stranger = resource("geocrop:storage:New", "new", {}, { custom: false });
    expect(operations(program(parent, child), program(stranger, moved))).toEqual({
      new: "create",
      "new-bucket": "create",
      old: "delete",
      "old-bucket": "delete",
    });
    const byUrn = resource(bucketType, "renamed", { bucket: "b" }, { aliases: [{ urn: child.urn }] });
    expect(operations(program(child), program(byUrn))).toEqual({});
  });

  test("knows that a provider cannot be asked while what it talks to is made anew", () => {
    const pods = (size: string) => resource(statefulSet, "pods", { spec: { volumeClaimTemplates: [size] } });
    const providerOf = (server: Resource) =>
      resource(
        "pulumi:providers:minio",
        "admin",
        { minioServer: unknown },
        {
          propertyDependencies: { minioServer: [server.urn] },
        },
      );
    const behind = (provider: Resource) =>
      resource(bucketType, "b", { bucket: "b" }, { provider: provider.urn });
    const stack = (size: string) => {
      const server = pods(size);
      const provider = providerOf(server);
      return program(server, provider, behind(provider));
    };
    expect(operations(stack("1Gi"), stack("1Gi"))).toEqual({});
    expect(operations(stack("1Gi"), stack("2Gi"))).toEqual({ pods: "replace", admin: "update", b: "update" });
  });

  test("replaces what a replaced provider has made", () => {
    const provider = (context: string) => resource("pulumi:providers:kubernetes", "cluster", { context });
    const stack = (context: string) => {
      const cluster = provider(context);
      return program(cluster, resource("kubernetes:core/v1:Namespace", "ns", {}, { provider: cluster.urn }));
    };
    expect(operations(stack("a"), stack("b"))).toEqual({ cluster: "replace", ns: "replace" });
  });

  test("tells of a guard that is taken away, though the engine calls the resource unchanged", () => {
    const guarded = { ...bucket, protect: true };
    const { changes, options } = plan(program(guarded), program(bucket));
    expect(changes).toEqual([]);
    expect(options.map(optionRisk)).toEqual([expect.stringContaining("no longer protected")]);
    expect(plan(program(bucket), program(guarded)).options.map(optionRisk)).toEqual([undefined]);
  });
});

describe("the meaning of a change on a live stack", () => {
  const minio = (replicas: number, size: string, change: Partial<Resource> = {}) =>
    resource(
      statefulSet,
      "pods",
      {
        metadata: { name: "minio", labels: { app: "minio" } },
        spec: {
          replicas,
          template: { image: change.name ?? "a" },
          volumeClaimTemplates: [{ metadata: { name: "data" }, size }],
        },
      },
      { protect: change.protect ?? false },
    );
  const deployment = (image: string) =>
    resource("kubernetes:apps/v1:Deployment", "api", {
      metadata: { name: "api" },
      spec: { replicas: 2, template: { image } },
    });
  const bucket = (inputs: JsonObject) => resource(bucketType, "b", { bucket: "b", ...inputs });
  const lifecycle = (...rules: JsonObject[]) =>
    resource("minio:index/ilmPolicy:IlmPolicy", "l", { bucket: "b", rules });
  const versioning = (status: string) =>
    resource("minio:index/s3BucketVersioning:S3BucketVersioning", "v", {
      versioningConfiguration: { status },
    });

  const cases: readonly [
    what: string,
    before: Resource | undefined,
    after: Resource | undefined,
    told: RegExp,
    part: "risks" | "interruptions" | "notes",
  ][] = [
    [
      "a volume's size",
      minio(4, "1"),
      minio(4, "2"),
      /stay, and the new pods take them over as they are/,
      "risks",
    ],
    [
      "a volume's size, to pods",
      minio(4, "1"),
      minio(4, "2"),
      /minio-0 … minio-3 end first/,
      "interruptions",
    ],
    [
      "a protected StatefulSet's replacement",
      minio(1, "1", { protect: true }),
      minio(1, "2"),
      /it is protected/,
      "notes",
    ],
    ["MinIO's size", minio(4, "1"), minio(8, "1"), /4 → 8 pods: MinIO's erasure sets/, "risks"],
    ["another image", minio(4, "1"), minio(4, "1", { name: "b" }), /restart one by one/, "interruptions"],
    [
      "another image of one pod",
      minio(1, "1"),
      minio(1, "1", { name: "b" }),
      /minio-0 restarts: no service/,
      "interruptions",
    ],
    ["a StatefulSet that goes", minio(1, "1"), undefined, /stay behind, with the data/, "risks"],
    [
      "another image of a Deployment",
      deployment("a"),
      deployment("b"),
      /the 2 pods of api are turned over/,
      "interruptions",
    ],
    ["a bucket that goes", bucket({}), undefined, /MinIO refuses while anything is in it/, "risks"],
    ["a bucket that goes with all", bucket({ forceDestroy: true }), undefined, /every version/, "risks"],
    [
      "a bucket that may be emptied",
      bucket({ forceDestroy: false }),
      bucket({ forceDestroy: true }),
      /deletes its objects/,
      "risks",
    ],
    ["a lower quota", bucket({ quota: 2 }), bucket({ quota: 1 }), /takes no more writes/, "notes"],
    ["versions that end", versioning("Enabled"), versioning("Suspended"), /versions end/, "risks"],
    ["versions that go", versioning("Enabled"), undefined, /versions end/, "risks"],
    [
      "an expiry that is sooner",
      lifecycle({ id: "o", expiration: "90d" }),
      lifecycle({ id: "o", expiration: "30d" }),
      /objects are deleted after 30 days, before: after 90 days/,
      "risks",
    ],
    [
      "an expiry that is new",
      lifecycle(),
      lifecycle({ id: "o", expiration: "1d" }),
      /after 1 day, before: never/,
      "risks",
    ],
    [
      "versions that go sooner",
      lifecycle({ id: "n", noncurrentVersionExpirationDays: 30 }),
      lifecycle({ id: "n", noncurrentVersionExpirationDays: 7 }),
      /not current are deleted after 7 days/,
      "risks",
    ],
    [
      "a namespace that goes",
      resource("kubernetes:core/v1:Namespace", "n", {}),
      undefined,
      /everything in the namespace/,
      "risks",
    ],
    [
      "a key that goes",
      resource("minio:index/iamUser:IamUser", "u", { name: "u" }),
      undefined,
      /every URL that was signed with it/,
      "interruptions",
    ],
  ];
  test("of a type that no rule is known of is told with a doubt", () => {
    const group = (name: string) => resource("minio:index/iamGroup:IamGroup", "g", { name });
    const [change] = plan(program(group("a")), program(group("b"))).changes;
    expect(change === undefined ? [] : meaningOf(change).notes).toEqual([
      expect.stringContaining("it may be replaced"),
    ]);
  });

  test.each(cases)("%s", (_, before, after, told, part) => {
    const [change] = plan(
      program(...(before === undefined ? [] : [before])),
      program(...(after === undefined ? [] : [after])),
    ).changes;
    expect(change).toBeDefined();
    expect(change === undefined ? "" : meaningOf(change)[part].join("\n")).toMatch(told);
  });

  const harmless: readonly [what: string, before: Resource | undefined, after: Resource][] = [
    ["a raised quota", bucket({ quota: 1 }), bucket({ quota: 2 })],
    ["a new bucket", undefined, bucket({ forceDestroy: true })],
    ["a new lifecycle of a new bucket", undefined, lifecycle({ id: "o", expiration: "1d" })],
    ["a later expiry", lifecycle({ id: "o", expiration: "30d" }), lifecycle({ id: "o", expiration: "90d" })],
    ["another image", minio(4, "1"), minio(4, "1", { name: "b" })],
  ];
  test.each(harmless)("%s puts no data at risk", (_, before, after) => {
    const changes = plan(program(...(before === undefined ? [] : [before])), program(after)).changes;
    expect(changes.map((change) => meaningOf(change).risks)).toEqual([[]]);
  });
});
