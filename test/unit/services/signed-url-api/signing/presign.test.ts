import { Client } from "minio";
import { describe, expect, test } from "vitest";

import { createPresigner } from "../../../../../services/signed-url-api/signing/presign.ts";

const parameters = (url: string): Record<string, string> => Object.fromEntries(new URL(url).searchParams);

test("the example of the specification", () => {
  // https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
  const presign = createPresigner("https://examplebucket.s3.amazonaws.com", "us-east-1", () => ({
    accessKey: "AKIAIOSFODNN7EXAMPLE",
    secretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
  }));
  const { url, expiresAt } = presign({
    path: "/test.txt",
    expiresIn: 86_400,
    now: new Date("2013-05-24T00:00:00Z"),
  });
  expect(parameters(url)["X-Amz-Signature"]).toBe(
    "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
  );
  expect(expiresAt.toISOString()).toBe("2013-05-25T00:00:00.000Z");
});

describe("the same URL as minio-js makes", () => {
  const credentials = { accessKey: "api-signer-1", secretKey: "s3cr3t/with+signs=" };
  const now = new Date("2026-11-24T23:59:59.999Z");
  const issuance = { "x-geocrop-issuance": "5d2c", "x-geocrop-subject": "a b&c=d/é~*'()!" };

  test.each([
    ["a port of its own", 30444, "jobs/job-123/result.tif", 900, {}],
    ["the scheme's port", 443, "jobs/job-123/result.tif", 3600, {}],
    ["further parameters", 9000, "jobs/job-123/result.tif", 901, issuance],
    ["a key that needs encoding", 9000, "jobs/a b/é+(1)~*'!&=.tif", 900, issuance],
  ])("%s", async (_what, port, key, expiresIn, query) => {
    const client = new Client({
      endPoint: "downloads.test",
      port,
      useSSL: true,
      region: "eu-west-1",
      ...credentials,
    });
    const theirs = await client.presignedGetObject("geocrop-results", key, expiresIn, query, now);
    const presign = createPresigner(`https://downloads.test:${port}`, "eu-west-1", () => credentials);
    const ours = presign({ path: `/geocrop-results/${key}`, expiresIn, now, query });
    expect(parameters(ours.url)).toEqual(parameters(theirs));
    expect(new URL(ours.url).host).toBe(new URL(theirs).host);
    expect(new URL(ours.url).pathname).toBe(new URL(theirs).pathname);
  });
});

test("parameters are sorted by name, as storage does: a before a-b, though = sorts after -", () => {
  const presign = createPresigner("https://s3.test", "us-east-1", () => ({ accessKey: "a", secretKey: "s" }));
  const { url } = presign({ path: "/b/k", expiresIn: 900, now: new Date(), query: { "a-b": "2", a: "1" } });
  expect([...new URL(url).searchParams.keys()].slice(-3)).toEqual(["a", "a-b", "X-Amz-Signature"]);
});

test("the cached day key is left when day or secret change", () => {
  let secretKey = "first";
  const make = () => createPresigner("https://s3.test", "us-east-1", () => ({ accessKey: "a", secretKey }));
  const sign = (presign: ReturnType<typeof make>, now: string) =>
    presign({ path: "/b/k", expiresIn: 900, now: new Date(now) }).url;

  const cached = make();
  sign(cached, "2026-11-24T12:00:00Z");
  expect(sign(cached, "2026-11-25T12:00:00Z")).toBe(sign(make(), "2026-11-25T12:00:00Z"));
  secretKey = "second";
  expect(sign(cached, "2026-11-25T12:00:00Z")).toBe(sign(make(), "2026-11-25T12:00:00Z"));
});

test("the life told is the life signed, to the second", () => {
  const presign = createPresigner("https://s3.test", "us-east-1", () => ({ accessKey: "a", secretKey: "s" }));
  const { url, expiresAt } = presign({
    path: "/b/k",
    expiresIn: 900,
    now: new Date("2026-11-24T10:00:00.999Z"),
  });
  expect(parameters(url)["X-Amz-Date"]).toBe("20261124T100000Z");
  expect(expiresAt.toISOString()).toBe("2026-11-24T10:15:00.000Z");
});
