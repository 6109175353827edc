import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { parseDocuments } from "../../../../../sandbox/engine/embedded/mc.ts";
import { canonical, lifecycleRule, MinioObjects } from "../../../../../sandbox/engine/embedded/minio.ts";
import type { Applied, Run } from "../../../../../sandbox/engine/embedded/monitor.ts";
import type { JsonObject } from "../../../../../sandbox/engine/embedded/values.ts";

let directory: string;
let objects: MinioObjects;

/** Answers by the table, and writes down how it was called. */
const fakeMc = `#!/bin/sh
echo "$*" >> "$HOME/../../calls"
case "$*" in *"user add"*) cat > "$HOME/../../stdin" ;; esac
case "$*" in
  "--json ls geocrop") echo '{"status":"success","key":"old-bucket/"}' ;;
  *"quota info"*) echo '{"status":"success","quota":1000}' ;;
  *"anonymous get"*) echo '{"status":"success","permission":"private"}' ;;
  *"user list"*) echo '{"status":"success","accessKey":"alice","policyName":"a,b","userStatus":"enabled"}' ;;
  *"policy list"*) echo '{"status":"success","policy":"readjobs"}' ;;
  *"rb geocrop/full"*) printf '{\\n "status": "error",\\n "error": {"message": "Unable to remove.", "cause": {"message": "The bucket is not empty"}}\\n}\\n'; exit 1 ;;
  *"rb geocrop/gone"*) echo '{"status":"error","error":{"message":"The specified bucket does not exist"}}'; exit 1 ;;
  *) echo '{"status":"success"}' ;;
esac
`;

const provider = {
  minioServer: "127.0.0.1:9443",
  minioUser: "root",
  minioPassword: "hunter22hunter22",
  minioSsl: "true",
};

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "geocrop-minio-"));
  writeFileSync(join(directory, "mc"), fakeMc);
  chmodSync(join(directory, "mc"), 0o755);
  objects = new MinioObjects(join(directory, "mc"), join(directory, "files"));
});

afterEach(() => {
  objects.close();
  rmSync(directory, { recursive: true });
});

const run = (mode: Run["mode"]): Run => ({
  mode,
  signal: new AbortController().signal,
  note: () => undefined,
});

function typeOf(kind: string): string {
  return `minio:index/${kind.charAt(0).toLowerCase()}${kind.slice(1)}:${kind}`;
}

function apply(kind: string, inputs: JsonObject, mode: Run["mode"] = "up", hash?: string): Promise<Applied> {
  const type = typeOf(kind);
  const recorded = hash === undefined ? undefined : { type, name: "n", id: "i", hash };
  return objects.apply(
    { type, name: "n", inputs, hash: "now", provider, timeout: undefined, recorded },
    run(mode),
  );
}

function calls(): string[] {
  return readFileSync(join(directory, "calls"), "utf8").trim().split("\n");
}

describe("only what differs from the live server is written", () => {
  test("nothing for a bucket as declared", async () => {
    expect((await apply("S3Bucket", { bucket: "old-bucket", quota: 1000 })).change).toBe("same");
    expect(calls().filter((call) => /set|clear| mb /.test(call))).toStrictEqual([]);
  });

  test("the quota, when somebody changed it", async () => {
    expect((await apply("S3Bucket", { bucket: "old-bucket", quota: 5 })).change).toBe("update");
    expect(calls().at(-1)).toBe("--json quota set --size 5 geocrop/old-bucket");
  });

  test("all of a new bucket; in a preview, nothing of it", async () => {
    expect((await apply("S3Bucket", { bucket: "new", quota: 5 }, "preview")).change).toBe("create");
    expect(calls()).toStrictEqual(["--json ls geocrop"]);
    await apply("S3Bucket", { bucket: "new", quota: 5 });
    expect(calls().slice(1)).toStrictEqual([
      "--json mb geocrop/new",
      "--json quota set --size 5 geocrop/new",
    ]);
  });

  test("an attachment that is missing, and not one that is there", async () => {
    expect((await apply("IamUserPolicyAttachment", { userName: "alice", policyName: "b" })).change).toBe(
      "same",
    );
    expect((await apply("IamUserPolicyAttachment", { userName: "alice", policyName: "c" })).change).toBe(
      "create",
    );
    expect(calls().at(-1)).toBe("--json admin policy attach geocrop c --user alice");
  });

  test("a user's secret when it is another one than last time, and to mc's input alone", async () => {
    const inputs = { name: "alice", secret: "correct-horse" };
    expect((await apply("IamUser", inputs, "up", "now")).change).toBe("same");
    expect((await apply("IamUser", inputs, "up", "then")).change).toBe("update");
    expect(readFileSync(join(directory, "stdin"), "utf8")).toBe("correct-horse\n");
    expect(calls().join("\n")).not.toMatch(/correct-horse|hunter22/);
  });
});

describe("what is refused", () => {
  test.each<[string, JsonObject, RegExp]>([
    ["S3Bucket", { bucket: "b", acl: "public-read" }, /acl/],
    ["S3Bucket", { bucket: "b", surprise: 1 }, /surprise/],
    ["IlmPolicy", { bucket: "b", rules: [{ id: "r", expiration: "soon" }] }, /expiration/],
    ["IamUser", { name: "n" }, /secret/],
    ["KmsKey", {}, /does not know this type/],
  ])("%s %j", async (kind, inputs, message) => {
    await expect(apply(kind, inputs)).rejects.toThrow(message);
  });
});

const remove = (bucket: string) =>
  objects.remove(
    { type: typeOf("S3Bucket"), name: "n", id: bucket, target: { id: bucket, forceDestroy: false } },
    provider,
    run("up"),
  );

describe("deletion", () => {
  test("of a bucket with objects in it fails in mc's words", async () => {
    await expect(remove("full")).rejects.toThrow("Unable to remove. The bucket is not empty");
  });

  test("of what is gone already is done", async () => {
    await expect(remove("gone")).resolves.toBeUndefined();
  });
});

test("mc's own files are gone at the end", async () => {
  await apply("S3Bucket", { bucket: "new" });
  expect(existsSync(join(directory, "files"))).toBe(true);
  objects.close();
  expect(existsSync(join(directory, "files"))).toBe(false);
});

test("documents come apart, whether on one line each or over several", () => {
  expect(parseDocuments('{"a":1}\n{\n "b": [{}, {}]\n}\n{"c":"}\\n{"}\n')).toStrictEqual([
    { a: 1 },
    { b: [{}, {}] },
    { c: "}\n{" },
  ]);
});

test.each([
  [
    { expiration: "90d", filter: "jobs/" },
    { Filter: { Prefix: "jobs/" }, Expiration: { Days: 90 } },
  ],
  [
    { expiration: "DeleteMarker" },
    { Filter: { Prefix: "" }, Expiration: { ExpiredObjectDeleteMarker: true } },
  ],
  [
    { noncurrentVersionExpirationDays: 30, tags: { a: "b" } },
    { Filter: { Tag: { Key: "a", Value: "b" } }, NoncurrentVersionExpiration: { NoncurrentDays: 30 } },
  ],
])("lifecycle rule %j is %j to MinIO", (rule, expected) => {
  const full = { id: "r", filter: "", status: "Enabled" as const, tags: {}, ...rule };
  expect(lifecycleRule(full)).toStrictEqual({ ID: "r", Status: "Enabled", ...expected });
});

test("policies are alike in every form that MinIO gives them back in, and differ where it matters", () => {
  const declared = {
    Statement: [{ Effect: "Allow", Action: ["s3:b", "s3:a"], Resource: "r", Condition: { N: { k: 36 } } }],
  };
  const live = {
    Statement: [
      {
        Sid: "",
        Effect: "Allow",
        Action: ["s3:a", "s3:b"],
        Resource: ["r"],
        Condition: { N: { k: ["36"] } },
      },
    ],
  };
  expect(canonical(live)).toStrictEqual(canonical(declared));
  expect(canonical({ ...live, Statement: [] })).not.toStrictEqual(canonical(declared));
});
