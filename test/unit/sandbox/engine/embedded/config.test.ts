import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { readProject, readStackConfig } from "../../../../../sandbox/engine/embedded/config.ts";

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "geocrop-config-"));
});

afterAll(() => {
  rmSync(directory, { recursive: true });
});

function stackFile(content: string): string {
  const path = join(directory, "Pulumi.test.yaml");
  writeFileSync(path, content);
  return path;
}

test("values reach the program as the CLI would hand them over", () => {
  const file = stackFile(`config:
  geocrop-storage:namespace: geocrop
  geocrop-storage:protectData: false
  geocrop-storage:port: 9443
  geocrop-storage:minio: { replicas: 1 }
  short: here
  kubernetes:context: there
`);
  expect(readStackConfig(file, "geocrop-storage")).toStrictEqual({
    "geocrop-storage:namespace": "geocrop",
    "geocrop-storage:protectData": "false",
    "geocrop-storage:port": "9443",
    "geocrop-storage:minio": '{"replicas":1}',
    "geocrop-storage:short": "here",
    "kubernetes:context": "there",
  });
});

test("a stack file without config is an empty one", () => {
  expect(readStackConfig(stackFile(""), "p")).toStrictEqual({});
});

test("encrypted values are named, and the CLI that can read them", () => {
  const file = stackFile(
    "config:\n  p:a: { secure: AAAB }\n  p:b: { deep: [{ secure: AAAB }] }\n  p:c: plain\n",
  );
  expect(() => readStackConfig(file, "p")).toThrow(/only the Pulumi CLI can read: p:a, p:b\. Use the CLI/);
});

test("what is no stack file is called that", () => {
  expect(() => readStackConfig(stackFile("config: [1]"), "p")).toThrow(/is not a stack file/);
  expect(() => readStackConfig(stackFile("config: a: b: c"), "p")).toThrow(
    /Pulumi\.test\.yaml can't be read: /,
  );
  expect(() => readStackConfig(join(directory, "none.yaml"), "p")).toThrow(
    /none\.yaml can't be read: ENOENT/,
  );
});

test("project and entry are those of this repository", () => {
  const root = resolve(import.meta.dirname, "../../../../..");
  expect(readProject(root)).toStrictEqual({ name: "geocrop-storage", program: join(root, "index.ts") });
});
