import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import { CoreV1Api } from "@kubernetes/client-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { engineEnvironment, prepareState } from "../../sandbox/engine/engine.ts";
import { policyPackFor } from "../../sandbox/engine/policy-pack.ts";
import type { OperationResult } from "../../sandbox/engine/stack.ts";
import { PreviewRepo, type StackChange } from "../support/preview-repo.ts";
import { bringUp } from "./bring-up.ts";
import { command, layout, sandboxEngine } from "./stacks.ts";
import { namespaceExists, sandboxCluster } from "./live.ts";

const namespace = "geocrop-e2e-preview";

/** A pull request's changes, each with how many resources of which fate there are at least. */
const changes: readonly [what: string, change: StackChange, least: Record<string, number>][] = [
  ["a raised quota", { buckets: { "geocrop-models": { quota: "1200Mi" } } }, { update: 1 }],
  ["a new bucket", { buckets: { "geocrop-tiles": { quota: "64Mi", expireDays: 30 } } }, { create: 3 }],
  ["a bucket that goes", { buckets: { "geocrop-spare": undefined } }, { delete: 3 }],
  ["rotated keys", { credentials: { generation: 2 } }, { create: 10, update: 4 }],
  [
    "another name outside",
    { downloads: { publicUrl: "https://downloads.example.org" } },
    { replace: 2, update: 1 },
  ],
  ["more pods", { api: { replicas: 2 } }, { update: 1 }],
  ["another namespace", { namespace: `${namespace}-2` }, { replace: 40 }],
  ["another way in", { api: { expose: { type: "ClusterIP" } } }, { update: 1 }],
];

/** Changes that a running stack cannot take, with the setting that the engine's refusal names. */
const refused: readonly [what: string, change: StackChange, setting: string][] = [
  ["another volume size", { minio: { storage: "9Gi" } }, 'minio.storage = "9Gi"'],
  ["another number of MinIO pods", { minio: { replicas: 4 } }, "minio.replicas = 4"],
  ["another size of the audit volume", { audit: { storage: "2Gi" } }, 'audit.storage = "2Gi"'],
];

const address = "10.213.77.2";
const ports = { api: 30493, downloads: 30494, tunnel: 19019 };
const at = (port: number) => ({
  publicUrl: `https://${address}:${port}`,
  expose: { type: "NodePort", nodePort: port },
});

/** The engine on a state of its own, made by the base of a pull request. */
class BaseStack {
  readonly repo = new PreviewRepo();
  readonly #folder = join(this.repo.folder, ".git/stack");

  /** With the project's policy pack, as the engine takes it. */
  async policies(): Promise<readonly string[]> {
    const { cli } = await sandboxEngine();
    return ["--policy-pack", await policyPackFor(cli, join(layout.project, "policy"), this.#folder)];
  }

  async run(operation: string, ...args: readonly string[]): Promise<OperationResult> {
    const { cli, home } = await sandboxEngine();
    await prepareState(this.#folder);
    const stackFile = join(this.#folder, "Pulumi.dev.yaml");
    const salt = existsSync(stackFile)
      ? /^encryptionsalt: .*$/m.exec(readFileSync(stackFile, "utf8"))?.[0]
      : "";
    writeFileSync(
      stackFile,
      `${salt ?? ""}\n${readFileSync(join(this.repo.folder, "Pulumi.dev.yaml"), "utf8").replace(/^encryptionsalt: .*$/m, "")}`,
    );
    const { code, stdout, output } = await command(
      process.execPath,
      [
        join(layout.project, "sandbox/engine/stack.ts"),
        operation,
        "--cli",
        cli.root,
        "--folder",
        this.#folder,
        "--project",
        this.repo.folder,
        "--json",
        ...args,
      ],
      engineEnvironment(home, this.#folder),
    ).done;
    if (code !== 0) throw new Error(`${operation} ended with exit code ${code}:\n${output.slice(-8000)}`);
    return JSON.parse(stdout);
  }

  /** By URN. Default providers and the stack itself are the engine's own. */
  async preview(...args: readonly string[]): Promise<Map<string, string>> {
    const { steps } = await this.run("preview", ...args);
    const replaces = new Set(["create-replacement", "delete-replaced"]);
    return new Map(
      steps
        .filter(({ urn }) => !/::pulumi:(pulumi:Stack|providers:\w+::default)/.test(urn))
        .map(({ op, urn }): [string, string] => [urn, replaces.has(op) ? "replace" : op]),
    );
  }
}

/** What a run that was killed has left; its state went with it, and MinIO's side with the namespace. */
async function clearAway(): Promise<void> {
  if (!(await namespaceExists(namespace))) return;
  await sandboxCluster().makeApiClient(CoreV1Api).deleteNamespace({ name: namespace });
  while (await namespaceExists(namespace)) await pause(500);
}

describe("the offline preview beside the engine's", () => {
  let engine: BaseStack;

  beforeAll(async () => {
    process.env["KUBECONFIG"] = layout.kubeconfig;
    await bringUp();
    await clearAway();
    engine = new BaseStack();
    const { repo } = engine;
    const deployed = readFileSync(layout.stackFile, "utf8");
    repo.write("Pulumi.dev.yaml", deployed.replace(/^encryptionsalt: .*\n/m, ""));
    repo.set("dev", {
      api: at(ports.api),
      downloads: at(ports.downloads),
      buckets: { "geocrop-spare": { quota: "64Mi" } },
    });
    const file = readFileSync(join(repo.folder, "Pulumi.dev.yaml"), "utf8");
    repo.write(
      "Pulumi.dev.yaml",
      `${file}  geocrop-storage:namespace: ${namespace}\n  geocrop-storage:tunnelPort: ${ports.tunnel}\n`,
    );
    repo.commit("the deployed stack");
    await engine.run("up");
  });

  afterAll(async () => {
    engine.repo.git("checkout", "--quiet", "main");
    await engine.run("destroy");
    engine.repo.remove();
  });

  test("agrees that nothing changes, the policy pack of the engine included", async () => {
    engine.repo.branch("nothing");
    expect(await engine.preview(...(await engine.policies()))).toEqual(new Map());
    const { code, stdout } = await engine.repo.preview("--stack", "dev");
    expect({ code, stdout }).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("no resource changes"),
    });
  });

  test.each(changes)(
    "agrees on %s: what is created, updated, replaced, deleted",
    async (what, change, least) => {
      const { repo } = engine;
      repo.branch(what.replaceAll(" ", "-"));
      repo.set("dev", change);
      repo.commit(what);
      const ours = await repo.preview("--stack", "dev", "--json");
      const report: { changes: { urn: string; operation: string }[] } = JSON.parse(ours.stdout);
      const told = new Map(report.changes.map(({ urn, operation }) => [urn, operation]));
      expect(told).toEqual(await engine.preview());
      for (const [operation, count] of Object.entries(least)) {
        expect(
          [...told.values()].filter((each) => each === operation).length,
          operation,
        ).toBeGreaterThanOrEqual(count);
      }
    },
  );

  test.each(refused)(
    "is refused by the engine on %s, in words, before anything changes",
    async (what, change, setting) => {
      const { repo } = engine;
      repo.branch(what.replaceAll(" ", "-"));
      repo.set("dev", change);
      repo.commit(what);
      await expect(engine.preview()).rejects.toThrow(`geocrop-storage:${setting}`);
      await expect(engine.run("up")).rejects.toThrow(`geocrop-storage:${setting}`);
    },
  );

  test("agrees with the engine's policy pack on a breach", async () => {
    const { repo } = engine;
    repo.branch("breach");
    repo.edit("components/minio/private-bucket.ts", 'acl: "private"', 'acl: "public-read"');
    repo.commit("open the buckets");
    const refusal = engine.run("preview", ...(await engine.policies()));
    await expect(refusal).rejects.toThrow(/\[mandatory\] +bucket-private/);
    const { code, stdout } = await repo.preview("--stack", "dev");
    expect(code).toBe(1);
    expect(stdout).toContain("bucket-private (mandatory)");
  });
});
