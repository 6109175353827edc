import { describe, expect, test } from "vitest";

import { adminCalls, lifecycleRule, minioProvider } from "../../../../../sandbox/engine/plugins/minio.ts";
import { declaredBySdk } from "./plugin-client.ts";

describe("the minio stand-in has what the official SDK declares", () => {
  test.each([
    ["minio:index/s3Bucket:S3Bucket", "s3bucket", ["bucket"]],
    ["minio:index/s3BucketVersioning:S3BucketVersioning", "s3bucketVersioning", ["bucket"]],
    ["minio:index/ilmPolicy:IlmPolicy", "ilmPolicy", ["bucket"]],
    ["minio:index/iamUser:IamUser", "iamUser", ["name"]],
    ["minio:index/iamPolicy:IamPolicy", "iamPolicy", ["name"]],
    [
      "minio:index/iamUserPolicyAttachment:IamUserPolicyAttachment",
      "iamUserPolicyAttachment",
      ["policyName", "userName"],
    ],
  ])("for %s, without the prefixes that make names up", (token, file, replacing) => {
    const official = declaredBySdk("minio", file);
    const type = minioProvider.types[token];
    const inputs = official.inputs.filter((name) => !name.endsWith("Prefix"));
    expect(inputs.length).toBeGreaterThan(1);
    expect(Object.keys(type?.inputs.shape ?? {}).toSorted()).toEqual(inputs.toSorted());
    expect(type?.computed.toSorted()).toEqual(official.computed.toSorted());
    expect(type?.secrets ?? []).toEqual(official.secrets);
    expect(type?.replaceOnChange.toSorted()).toEqual(replacing);
  });
});

test("a lifecycle rule has the form of S3's XML", () => {
  expect(lifecycleRule({ id: "a", expiration: "90d", filter: "jobs/" })).toEqual({
    ID: "a",
    Status: "Enabled",
    Filter: { Prefix: "jobs/" },
    Expiration: { Days: 90 },
  });
  expect(lifecycleRule({ id: "b", noncurrentVersionExpirationDays: 3, tags: { k: "v" } })).toEqual({
    ID: "b",
    Status: "Enabled",
    Filter: { And: { Prefix: "", Tag: [{ Key: "k", Value: "v" }] } },
    NoncurrentVersionExpiration: { NoncurrentDays: 3 },
  });
});

test("names are escaped in admin calls, and what holds a secret is sealed", () => {
  expect(adminCalls.readUser("a&b=c").path).toBe("user-info?accessKey=a%26b%3Dc");
  const { path, isSealed } = adminCalls.writeUser("worker", "the-secret", false);
  expect([path, isSealed]).toEqual(["add-user?accessKey=worker", true]);
});
