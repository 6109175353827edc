import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { readStackFile, sandboxStackFile } from "../../../../sandbox/engine/stack-file.ts";

const images = Object.fromEntries(
  ["minio", "signed-url-api", "download-gateway", "audit-receiver", "pause"].map((name) => [
    name,
    `geocrop.sandbox/${name}@sha256:${"0".repeat(64)}`,
  ]),
);
const facts = {
  images,
  apiUrl: "https://192.0.2.1:1",
  downloadUrl: "https://192.0.2.1:2",
  storageClass: "sandbox",
  encryptionSalt: undefined,
};

describe("the sandbox's stack file", () => {
  test("is the repository's, but for this cluster's facts", async () => {
    const repository = await readFile(resolve(import.meta.dirname, "../../../../Pulumi.dev.yaml"), "utf8");
    const [before, after] = [parse(repository).config, parse(sandboxStackFile(repository, facts)).config];
    expect(after["geocrop-storage:images"]).toEqual({
      minio: images["minio"],
      signedUrlApi: images["signed-url-api"],
      downloadGateway: images["download-gateway"],
      auditReceiver: images["audit-receiver"],
    });
    expect(after["geocrop-storage:api"]).toEqual({
      ...before["geocrop-storage:api"],
      publicUrl: facts.apiUrl,
    });
    expect(after["geocrop-storage:downloads"].publicUrl).toBe(facts.downloadUrl);
    expect(after["geocrop-storage:minio"]).toEqual({
      ...before["geocrop-storage:minio"],
      storageClass: "sandbox",
    });
    expect(after["geocrop-storage:buckets"]).toEqual(before["geocrop-storage:buckets"]);
  });

  test("keeps the salt that the CLI's secrets depend on", () => {
    const text = sandboxStackFile("config: {}", { ...facts, encryptionSalt: "v1:abc" });
    expect(readStackFile(text)).toEqual({ namespace: "geocrop", encryptionSalt: "v1:abc" });
  });

  test("an image that was not built is named", () => {
    expect(() => sandboxStackFile("config: {}", { ...facts, images: {} })).toThrow("minio was not built");
  });
});
