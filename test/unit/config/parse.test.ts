import { readFileSync } from "node:fs";

import { describe, expect, test } from "vitest";
import { parse } from "yaml";

import { ConfigError, parseSettings } from "../../../config/parse.ts";

const project = "geocrop-storage";

function stackFile(stack: string): Record<string, string> {
  const { config } = parse(readFileSync(`Pulumi.${stack}.yaml`, "utf8"));
  return Object.fromEntries(
    Object.entries(config).map(([key, value]) => [
      key,
      typeof value === "string" ? value : JSON.stringify(value),
    ]),
  );
}

function problemsOf(change: Record<string, unknown>): readonly string[] {
  const raw = stackFile("dev");
  for (const [key, value] of Object.entries(change)) {
    raw[`${project}:${key}`] = typeof value === "string" ? value : JSON.stringify(value);
  }
  try {
    parseSettings(raw, project);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

const images = parse(readFileSync("Pulumi.dev.yaml", "utf8")).config[`${project}:images`];
const quota = (value: string) => ({ quota: value });
const fourBuckets = {
  "geocrop-baselines": quota("1Gi"),
  "geocrop-datasets": quota("1Gi"),
  "geocrop-results": quota("1Gi"),
  "geocrop-models": quota("1Gi"),
};
const api = { publicUrl: "https://localhost:30443", auth: { mode: "dev-issuer" } };

describe("the stack files of this repository", () => {
  test.each(["dev", "prod"])("%s has no error", (stack) => {
    expect(parseSettings(stackFile(stack), project).namespace).toBe("geocrop");
  });

  test("prod protects its data, spreads four pods and takes no tag for an image", () => {
    const settings = parseSettings(stackFile("prod"), project);
    expect(settings).toMatchObject({ protectData: true, minio: { replicas: 4 }, api: { replicas: 2 } });
    for (const image of Object.values(settings.images)) expect(image).toMatch(/@sha256:[0-9a-f]{64}$/);
  });
});

describe("an error names its key, its value and the remedy", () => {
  test.each<[string, Record<string, unknown>, RegExp]>([
    [
      "a quota that is not a size",
      { buckets: { ...fourBuckets, "geocrop-models": quota("ten gigs") } },
      /buckets\.geocrop-models\.quota = "ten gigs": is not a size.*10Gi/,
    ],
    [
      "an expiry under 15 minutes",
      { api: { ...api, urlExpirySeconds: 899 } },
      /api\.urlExpirySeconds = 899: is shorter than 900 seconds/,
    ],
    [
      "an expiry over 60 minutes",
      { api: { ...api, urlExpirySeconds: 3601 } },
      /api\.urlExpirySeconds = 3601: is longer than 3600 seconds/,
    ],
    [
      "an image by tag",
      { images: { ...images, minio: "docker.io/pgsty/silo:latest" } },
      /images\.minio = ".*latest": has no digest: pin it/,
    ],
    [
      "a MinIO of before the fix",
      {
        images: {
          ...images,
          minio: `quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z@sha256:${"a".repeat(64)}`,
        },
      },
      /CVE-2025-62506/,
    ],
    ["an unknown key", { bukets: {} }, /geocrop-storage:bukets: unknown key/],
    [
      "an unknown key inside",
      { minio: { storage: "8Gi", replica: 4 } },
      /geocrop-storage:minio\.replica: unknown key/,
    ],
    [
      "a bucket name that S3 refuses",
      { buckets: { ...fourBuckets, Geocrop_Extra: quota("1Gi") } },
      /buckets\.Geocrop_Extra: is not a valid bucket name/,
    ],
    [
      "a required bucket left out",
      { buckets: { "geocrop-results": quota("1Gi") } },
      /buckets\.geocrop-datasets: is missing/,
    ],
    [
      "replicas that make no erasure set",
      { minio: { storage: "8Gi", replicas: 3 } },
      /minio\.replicas = 3: cannot be erasure coded/,
    ],
    [
      "a root that is neither in nor out",
      { minio: { storage: "8Gi", rootAccess: "on" } },
      /minio\.rootAccess = "on": must be bootstrap \(until the stack is deployed\) or off/,
    ],
    [
      "quotas that the drives cannot hold",
      { minio: { storage: "2Gi" } },
      /minio\.storage = "2Gi": is less than the buckets' quotas/,
    ],
    [
      "a public address with a path",
      { downloads: { publicUrl: "https://host/path" } },
      /downloads\.publicUrl = "https:\/\/host\/path": must be a bare origin/,
    ],
    [
      "a public address without TLS",
      { downloads: { publicUrl: "http://host" } },
      /downloads\.publicUrl = "http:\/\/host": is not an https address/,
    ],
    [
      "a development issuer where data is protected",
      { protectData: "true" },
      /api\.auth\.mode = "dev-issuer": keeps a token-signing key/,
    ],
    [
      "a NodePort that Kubernetes refuses",
      { api: { ...api, expose: { type: "NodePort", nodePort: 443 } } },
      /api\.expose\.nodePort = 443: must be at least 30000/,
    ],
    [
      "an unknown way of exposure",
      { api: { ...api, expose: { type: "HostPort" } } },
      /api\.expose\.type = "HostPort": is not a way of exposure: choose ClusterIP/,
    ],
    [
      "a route by name to an address",
      {
        downloads: {
          publicUrl: "https://192.0.2.1",
          expose: { type: "TLSRoute", gateway: { name: "public" } },
        },
      },
      /downloads\.publicUrl = "https:\/\/192\.0\.2\.1": is an IP address, and TLSRoute routes by host name/,
    ],
    [
      "a route through no Gateway",
      { api: { ...api, expose: { type: "TLSRoute" } } },
      /api\.expose\.gateway: is missing: give at least \{name/,
    ],
    [
      "a proxy that is not an address range",
      { downloads: { publicUrl: "https://host", trustedProxies: ["10.0.0.1"] } },
      /downloads\.trustedProxies\.0 = "10\.0\.0\.1": is not an address range/,
    ],
    [
      "an audit log that fills its volume",
      { audit: { storage: "1Gi", retention: { size: "1Gi" } } },
      /audit\.retention\.size = "1Gi": leaves no room.*at most 0\.9Gi/,
    ],
    [
      "an audit log kept for no time",
      { audit: { retention: { days: 0 } } },
      /audit\.retention\.days = 0: must be at least 1 day/,
    ],
    [
      "an index in the clear",
      { audit: { forward: { url: "http://logs.example/insert/jsonline" } } },
      /audit\.forward\.url = .*: is not an https address/,
    ],
    [
      "a namespace with capitals",
      { namespace: "GeoCrop" },
      /namespace = "GeoCrop": is not a valid namespace name/,
    ],
    [
      "an origin with a wildcard",
      { allowedOrigins: ["https://*.example.com"] },
      /allowedOrigins\.0 = "https:\/\/\*\.example\.com": has a wildcard: name each/,
    ],
    [
      "an origin that no browser sends",
      { allowedOrigins: ["https://map.example.com/"] },
      /allowedOrigins\.0 = .*: must be a bare origin/,
    ],
    [
      "a limit that no batch would pass",
      { api: { ...api, rateLimits: { perSubject: 50 } } },
      /api\.rateLimits\.perSubject = 50: must be at least 100/,
    ],
    [
      "an admin claim without a value",
      { api: { ...api, adminClaim: { claim: "roles" } } },
      /api\.adminClaim\.value/,
    ],
    [
      "a namespace to monitor from with capitals",
      { monitoring: { namespace: "M" } },
      /monitoring\.namespace = "M"/,
    ],
    [
      "an issuer's authority that is a path",
      {
        api: {
          publicUrl: "https://a.example",
          auth: {
            mode: "jwks-url",
            issuer: "i",
            audience: "a",
            url: "https://i.example/jwks",
            ca: "/etc/ca.crt",
          },
        },
      },
      /api\.auth\.ca = "\/etc\/ca\.crt": is not a PEM certificate/,
    ],
    [
      "an algorithm that mixes in HMAC",
      {
        api: {
          publicUrl: "https://a.example",
          auth: {
            mode: "jwks-url",
            issuer: "i",
            audience: "a",
            url: "https://i.example/jwks",
            algorithms: ["HS256"],
          },
        },
      },
      /api\.auth\.algorithms\.0 = "HS256": is not an accepted signature algorithm/,
    ],
  ])("%s", (_, change, message) => {
    const problems = problemsOf(change);
    expect(problems).toHaveLength(_ === "a required bucket left out" ? 3 : 1);
    expect(problems.join("\n")).toMatch(message);
  });

  test("all errors are reported together", () => {
    const problems = problemsOf({
      namespace: "No",
      minio: { storage: "2Gi", replicas: 7, extra: 1 },
      buckets: { ...fourBuckets, "geocrop-models": quota("much") },
      api: { ...api, urlExpirySeconds: 5 },
      protectData: "true",
    });
    expect(problems).toHaveLength(5);
  });

  test("a password in the address of an index is not repeated in the message", () => {
    const problems = problemsOf({ audit: { forward: { url: "https://writer:hunter2@logs.example/" } } });
    expect(problems.join()).toContain("holds a user name");
    expect(problems.join()).not.toContain("hunter2");
  });

  test("a secret set under a wrong name is not repeated in the message", () => {
    expect(problemsOf({ rootPassword: "hunter2-hunter2" }).join()).not.toContain("hunter2");
  });

  test("a wrong bucket name hides no other error of the buckets", () => {
    const problems = problemsOf({ buckets: { Wrong_Name: quota("much"), "geocrop-results": { days: 1 } } });
    expect(problems).toEqual([
      expect.stringMatching(/^geocrop-storage:buckets\.Wrong_Name\.quota = "much": is not a size/),
      expect.stringMatching(/^geocrop-storage:buckets\.geocrop-results\.quota: is missing/),
      "geocrop-storage:buckets.geocrop-results.days: unknown key: remove it, or see docs/configuration.md",
      expect.stringMatching(/^geocrop-storage:buckets\.Wrong_Name: is not a valid bucket name/),
      expect.stringMatching(/^geocrop-storage:buckets\.geocrop-baselines: is missing/),
      expect.stringMatching(/^geocrop-storage:buckets\.geocrop-datasets: is missing/),
      expect.stringMatching(/^geocrop-storage:buckets\.geocrop-models: is missing/),
    ]);
  });

  test("an error between keys is reported beside others", () => {
    const problems = problemsOf({ minio: { storage: "2Gi" }, namespace: "No", api: "none" });
    expect(problems).toEqual([
      expect.stringMatching(/^geocrop-storage:namespace = "No"/),
      'geocrop-storage:api = "none": is not a map: give at least {publicUrl, auth}',
      expect.stringMatching(/^geocrop-storage:minio\.storage = "2Gi": is less than the buckets' quotas/),
    ]);
  });

  test.each([
    ["the issuer of certificates", { tls: { issuer: "acme" } }, 'tls.issuer = "acme": is not an issuer'],
    [
      "the way of checking tokens",
      { api: { publicUrl: "https://a.example", auth: { mode: "oidc" } } },
      'api.auth.mode = "oidc": is not a mode',
    ],
    [
      "a public address",
      { api: { ...api, publicUrl: "localhost" } },
      'api.publicUrl = "localhost": is not an https address',
    ],
  ])("a wrong value for %s is shown, once", (_, change, start) => {
    const problems = problemsOf(change);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(start);
  });

  test("no configuration at all tells what is needed", () => {
    expect(() => parseSettings({}, project)).toThrow(
      /images.*\n.*minio.*\n.*buckets.*\n.*api.*\n.*downloads/,
    );
  });
});
