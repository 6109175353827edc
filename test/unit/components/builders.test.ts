import { describe, expect, test } from "vitest";

import { serverNames } from "../../../components/tls/server-names.ts";
import {
  apiSignerPolicy,
  declaredPolicies,
  jobSubmitterPolicy,
  provisionerPolicy,
  workerPolicy,
} from "../../../components/access/iam-policies.ts";
import { environmentFile, serverArguments } from "../../../components/minio/minio-server.ts";
import { lifecycleRules } from "../../../components/minio/private-bucket.ts";
import { bytesOf } from "../../../config/quantity.ts";
import { ttlSeconds } from "../../../tools/jobs/token.ts";

interface Statement {
  readonly Effect: string;
  readonly Action: string[];
  readonly Resource?: string[];
  readonly Condition?: unknown;
}

function statements(policy: string): Statement[] {
  const { Statement: found }: { Statement: Statement[] } = JSON.parse(policy);
  return found;
}

const policies = {
  "api-signer": apiSignerPolicy("results"),
  worker: workerPolicy(["inputs"], "results"),
  "job-submitter": jobSubmitterPolicy("results"),
  "provisioner that may not empty buckets": provisionerPolicy(false),
  "provisioner that may": provisionerPolicy(true),
};

describe("IAM policies", () => {
  test.each(Object.entries(policies))("of the %s allow nothing by a wildcard action", (_, policy) => {
    for (const { Effect, Action } of statements(policy)) {
      expect(Effect === "Deny" || Action.every((action) => !action.includes("*"))).toBe(true);
    }
  });

  test.each(Object.entries(policies))("of the %s refuse plain HTTP", (_, policy) => {
    expect(statements(policy)).toContainEqual(
      expect.objectContaining({ Effect: "Deny", Condition: { Bool: { "aws:SecureTransport": "false" } } }),
    );
  });

  test("let the signer read results and nothing else, by query signatures of at most 60 minutes", () => {
    const [allow, ...deny] = statements(apiSignerPolicy("results"));
    expect(allow).toMatchObject({
      Effect: "Allow",
      Action: ["s3:GetObject"],
      Resource: ["arn:aws:s3:::results/jobs/*"],
    });
    expect(deny.every(({ Effect }) => Effect === "Deny")).toBe(true);
    expect(deny.map(({ Condition }) => Condition)).toEqual([
      { StringNotEquals: { "s3:authType": "REST-QUERY-STRING" } },
      { NumericGreaterThan: { "s3:signatureAge": "3600000" } },
      { Bool: { "aws:SecureTransport": "false" } },
      undefined,
    ]);
  });

  test.each(["api-signer", "worker", "job-submitter"] as const)(
    "keep %s from keys of its own and all other administration",
    (identity) => {
      expect(statements(declaredPolicies({ protectData: true })[identity])).toContainEqual({
        Sid: "NoAdministration",
        Effect: "Deny",
        Action: ["admin:*"],
      });
    },
  );

  test("keep the provisioner from every object, unless it may empty buckets", () => {
    expect(policies["provisioner that may not empty buckets"]).not.toMatch(
      /Object"|ObjectVersion"|ForceDelete/,
    );
    expect(policies["provisioner that may"]).toMatch(/s3:DeleteObjectVersion/);
    expect(policies["provisioner that may"]).not.toMatch(/s3:(Get|Put)Object"/);
  });

  test("are the same text each time", () => {
    expect(workerPolicy(["a", "b"], "results")).toBe(workerPolicy(["a", "b"], "results"));
  });
});

describe("MinIO's arguments", () => {
  test.each([
    [1, "/data"],
    [4, "https://minio-{0...3}.minio-headless.ns.svc.cluster.local:9000/data"],
    [16, "https://minio-{0...15}.minio-headless.ns.svc.cluster.local:9000/data"],
  ])("for %i pods end in %s", (replicas, drives) => {
    expect(serverArguments("ns", replicas).at(-1)).toBe(drives);
  });

  test("and its environment file has a quoted export a line", () => {
    expect(environmentFile({ A: "1", B: "two words" })).toBe('export A="1"\nexport B="two words"\n');
  });
});

describe("lifecycle rules", () => {
  test("clear old versions away, and current ones only when asked", () => {
    expect(lifecycleRules(30, undefined)).toEqual([
      { id: "noncurrent-versions", noncurrentVersionExpirationDays: 30 },
    ]);
    expect(lifecycleRules(14, 90)).toContainEqual({ id: "old-objects", expiration: "90d" });
  });
});

describe("sizes", () => {
  test.each([
    ["1Ki", 1024],
    ["10Gi", 10 * 1024 ** 3],
    ["2Ti", 2 * 1024 ** 4],
    ["5G", 5e9],
    ["500M", 5e8],
  ])("%s is %i bytes", (text, bytes) => {
    expect(bytesOf(text)).toBe(bytes);
  });

  test.each(["", "10", "0Gi", "-1Gi", "1.5Gi", "10 Gi", "10gb", "1e3Mi"])("%j is none", (text) => {
    expect(() => bytesOf(text)).toThrow(RangeError);
  });
});

describe("a server's names", () => {
  test("are its Service's, and its public host's as a name", () => {
    expect(serverNames("api", "ns", "https://api.example")).toEqual({
      name: "api",
      dnsNames: ["api", "api.ns", "api.ns.svc", "api.ns.svc.cluster.local", "api.example"],
      ipAddresses: [],
    });
  });

  test("hold a public address as an address", () => {
    expect(serverNames("api", "ns", "https://192.0.2.1:30443").ipAddresses).toEqual(["192.0.2.1"]);
  });
});

describe("a token's time to live", () => {
  test.each([
    ["30s", 30],
    ["10m", 600],
    ["2h", 7200],
  ])("%s is %i seconds", (text, seconds) => {
    expect(ttlSeconds(text)).toBe(seconds);
  });

  test.each(["", "10", "0m", "25h", "1d", "ten"])("%j is none", (text) => {
    expect(() => ttlSeconds(text)).toThrow(/--ttl/);
  });
});
