import { describe, expect, test } from "vitest";

import {
  guardedSettings,
  impossibleChanges,
  isOurs,
  type RunningStack,
} from "../../../components/running-stack.ts";
import { parseSettings } from "../../../config/parse.ts";
import type { Settings } from "../../../config/schema.ts";

const digest = `@sha256:${"0".repeat(64)}`;
const config = {
  images: {
    minio: `m${digest}`,
    signedUrlApi: `a${digest}`,
    downloadGateway: `d${digest}`,
    auditReceiver: `r${digest}`,
  },
  minio: { storage: "10Gi" },
  buckets: Object.fromEntries(
    ["baselines", "datasets", "results", "models"].map((name) => [`geocrop-${name}`, { quota: "1Gi" }]),
  ),
  api: {
    publicUrl: "https://api.example",
    auth: {
      mode: "jwks-url",
      issuer: "https://i.example",
      audience: "a",
      url: "https://i.example/keys",
    },
  },
  downloads: { publicUrl: "https://downloads.example" },
};

function settings(change: Record<string, unknown> = {}): Settings {
  const raw = Object.entries({ ...config, ...change }).map(([key, value]) => [
    `geocrop-storage:${key}`,
    JSON.stringify(value),
  ]);
  return parseSettings(Object.fromEntries(raw), "geocrop-storage");
}

function statefulSet(claims: Record<string, string>, replicas = 1, storageClassName?: string) {
  return {
    spec: {
      replicas,
      selector: {},
      serviceName: "s",
      template: {},
      volumeClaimTemplates: Object.entries(claims).map(([name, storage]) => ({
        metadata: { name },
        spec: {
          resources: { requests: { storage } },
          ...(storageClassName === undefined ? {} : { storageClassName }),
        },
      })),
    },
  };
}

const running: RunningStack = {
  minio: statefulSet({ data: "10Gi", "audit-queue": "1Gi" }),
  auditReceiver: statefulSet({ trail: "10Gi" }),
  certificates: new Map(),
};

describe("a running stack", () => {
  test("takes a deployment that changes none of its volumes, however their size is written", () => {
    expect(impossibleChanges(settings(), running)).toEqual([]);
    expect(impossibleChanges(settings({ minio: { storage: "10240Mi" } }), running)).toEqual([]);
  });

  test("of which nothing is there takes everything", () => {
    const nothing = { minio: undefined, auditReceiver: undefined, certificates: new Map() };
    expect(impossibleChanges(settings({ minio: { storage: "20Gi", replicas: 4 } }), nothing)).toEqual([]);
  });

  test.each([
    ["minio.storage", { minio: { storage: "20Gi" } }, '"20Gi"', "set it back to 10Gi"],
    ["minio.storageClass", { minio: { storage: "10Gi", storageClass: "fast" } }, '"fast"', "remove the key"],
    ["minio.replicas", { minio: { storage: "10Gi", replicas: 4 } }, "4", "set it back to 1"],
    ["audit.storage", { audit: { storage: "20Gi" } }, '"20Gi"', "set it back to 10Gi"],
    ["audit.queueStorage", { audit: { queueStorage: "2Gi" } }, '"2Gi"', "set it back to 1Gi"],
  ])("refuses another %s, and says its value and the remedy", (key, change, value, remedy) => {
    const [refused, ...others] = impossibleChanges(settings(change), running);
    expect(others).toEqual([]);
    expect(refused).toMatch(`geocrop-storage:${key} = ${value}: `);
    expect(refused).toMatch(remedy);
  });

  test("refuses another storage class of the audit log on both its kinds of volumes", () => {
    const refused = impossibleChanges(settings({ audit: { storageClass: "fast" } }), running);
    expect(refused.map((line) => /claims (\S+)-<n>/.exec(line)?.[1])).toEqual([
      "audit-queue-minio",
      "trail-audit-receiver",
    ]);
  });

  test("refuses certificates from Secrets that are missing or incomplete, and names each", () => {
    const certificates = new Map([
      ["minio", ["tls.crt", "tls.key", "ca.crt"]],
      ["geocrop-api", ["tls.crt", "tls.key"]],
      ["geocrop-downloads", undefined],
    ]);
    const refused = impossibleChanges(settings({ tls: { issuer: "existing-secret" } }), {
      ...running,
      certificates,
    });
    expect(refused).toEqual([
      expect.stringContaining("Secret geocrop/geocrop-api-tls has no ca.crt: create it"),
      expect.stringContaining("Secret geocrop/geocrop-downloads-tls is missing: create it"),
    ]);
  });

  test("is looked at when any of the settings that it may refuse changes", () => {
    expect(guardedSettings(settings())).toEqual({
      minio: { replicas: 1, storage: "10Gi" },
      audit: { storage: "10Gi", queueStorage: "1Gi" },
      tls: { issuer: "self-signed-ca" },
    });
  });
});

describe("a namespace that is there already", () => {
  const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
  const managedFields = [{ manager: "pulumi-kubernetes-1a2b3c4d" }];

  test("is this stack's when Pulumi made it with the stack's labels", () => {
    expect(isOurs({ metadata: { labels: { ...labels, other: "1" }, managedFields } }, labels)).toBe(true);
  });

  test.each([
    ["somebody else made it", { labels, managedFields: [{ manager: "kubectl-create" }] }],
    ["another Pulumi program made it", { labels: {}, managedFields }],
    ["nothing is known of it", {}],
  ])("is not when %s", (_, metadata) => {
    expect(isOurs({ metadata }, labels)).toBe(false);
  });
});
