import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";

import { command, PreviewRepo } from "../support/preview-repo.ts";

// Each preview starts two programs; on a busy machine that takes its time.
vi.setConfig({ testTimeout: 120_000 });

let repo: PreviewRepo;

beforeAll(() => {
  repo = new PreviewRepo();
});
afterAll(() => repo.remove());

interface Told {
  readonly urn: string;
  readonly operation: string;
  readonly custom: boolean;
}

/** Commits what the test changed, and previews it. */
async function previewed(stack: string): Promise<{ code: number | null; changes: readonly Told[] }> {
  repo.commit("the change");
  const { code, stdout, stderr } = await repo.preview("--stack", stack, "--json");
  expect(stderr).toBe("");
  const report: { changes: Told[] } = JSON.parse(stdout);
  return { code, changes: report.changes };
}

function operations(changes: readonly Told[]): Record<string, string> {
  const told = changes.filter(({ custom }) => custom);
  return Object.fromEntries(told.map(({ urn, operation }) => [urn.split("::").at(-1) ?? urn, operation]));
}

const encrypted = (cipher: string) => `config:\n  kubernetes:kubeconfig: { secure: ${cipher} }\n`;

describe("realistic changes", () => {
  test("nothing changes between a revision and itself, generated values included", async () => {
    repo.branch("nothing");
    const { code, stdout } = await repo.preview("--stack", "dev");
    expect(code, stdout).toBe(0);
    expect(stdout).toMatch(/no resource changes, \d+ unchanged, no data at risk, all 15 policies kept/);
  });

  test("a raised quota is an update in place", async () => {
    repo.branch("quota");
    repo.set("prod", { buckets: { "geocrop-models": { quota: "600Gi", noncurrentDays: 365 } } });
    const { code, changes } = await previewed("prod");
    expect(code).toBe(2);
    expect(operations(changes)).toEqual({ "geocrop-bucket-geocrop-models": "update" });
    expect(changes[0]).toMatchObject({
      properties: [{ path: "quota", before: 500 * 2 ** 30, after: 600 * 2 ** 30 }],
    });
  });

  test("a new bucket comes with its versioning and lifecycle", async () => {
    repo.branch("bucket");
    repo.set("prod", { buckets: { "geocrop-tiles": { quota: "200Gi", expireDays: 30 } } });
    const { code, changes } = await previewed("prod");
    expect(code).toBe(2);
    expect(operations(changes)).toEqual({
      "geocrop-bucket-geocrop-tiles": "create",
      "geocrop-bucket-geocrop-tiles-versioning": "create",
      "geocrop-bucket-geocrop-tiles-lifecycle": "create",
    });
  });

  test("another volume size replaces the StatefulSet: data at risk, an interruption, and not what was meant", async () => {
    repo.branch("volume");
    repo.set("prod", { minio: { storage: "3Ti" } });
    const { code, changes } = await previewed("prod");
    expect(code).toBe(3);
    const planned = operations(changes);
    expect(planned["geocrop-minio-pods"]).toBe("replace");
    expect(Object.values(planned).filter((operation) => operation === "replace")).toHaveLength(1);
    // MinIO's providers talk to the pods that go: the engine cannot ask them, and plans an update of all they have.
    expect(planned["geocrop-bucket-geocrop-models"]).toBe("update");
    expect(changes[0]).toMatchObject({
      risks: [expect.stringContaining("the new pods take them over as they are")],
      interruptions: [expect.stringContaining("minio-0 … minio-3 end first")],
      notes: [expect.stringContaining("it is protected: the update is refused")],
    });
  });

  test("a deleted bucket is data at risk, and a key that turns shows no secret", async () => {
    repo.branch("turn");
    repo.edit("config/names.ts", '"geocrop-datasets", ', "");
    repo.edit("Pulumi.prod.yaml", "    geocrop-datasets: { quota: 1Ti, noncurrentDays: 90 }\n", "");
    repo.set("prod", { credentials: { generation: 2 } });
    repo.commit("drop a bucket, turn the keys");
    const { code, stdout } = await repo.preview("--stack", "prod", "--markdown");
    expect(code).toBe(3);
    expect(stdout).toContain("`S3Bucket geocrop-datasets`: the bucket is deleted; MinIO refuses");
    expect(stdout).toContain("data.secret-key: [secret] changed");
  });

  test("a breach of a mandatory policy ends with exit code 1, and a configuration can make it advice", async () => {
    repo.branch("breach");
    repo.edit("components/minio/private-bucket.ts", 'acl: "private"', 'acl: "public-read"');
    repo.commit("open the buckets");
    const { code, stdout } = await repo.preview("--stack", "prod");
    expect(code).toBe(1);
    expect(stdout).toContain(
      'bucket-private (mandatory), S3Bucket geocrop-models: acl is public-read, not "private"',
    );
    const file = join(repo.folder, ".git/policies.json");
    writeFileSync(file, JSON.stringify({ "bucket-private": "advisory" }));
    expect((await repo.preview("--stack", "prod", "--policy-config", file)).code).toBe(2);
  });
});

describe("what it reads and writes", () => {
  test("is no credential, no cluster, and no file but the base's worktree, which it takes away", async () => {
    repo.branch("inquisitive");
    repo.edit(
      "index.ts",
      "const settings",
      [
        'import { writeFileSync } from "node:fs";',
        "let wrote = true;",
        'try { writeFileSync("written", ""); } catch { wrote = false; }',
        "export const seen = `${process.env.KUBECONFIG} ${process.env.PULUMI_ACCESS_TOKEN} ${wrote}`;",
        "const settings",
      ].join("\n"),
    );
    // The entry names each output that it hands on.
    repo.edit("start.js", "export const {", "export const { seen,");
    repo.commit("look around");
    const env = { ...process.env, KUBECONFIG: "/some/kubeconfig", PULUMI_ACCESS_TOKEN: "a-token" };
    const main = join(process.cwd(), "tools/preview/main.ts");
    const { stdout } = await command(process.execPath, [main, "--stack", "dev"], repo.folder, env);
    expect(stdout).toContain("seen: (none) → undefined undefined false");
    expect(repo.git("status", "--porcelain")).toBe("");
    expect(repo.git("worktree", "list").trim().split("\n")).toHaveLength(1);
  });

  test("is left as it was when it is interrupted", async () => {
    repo.branch("interrupted");
    repo.edit(
      "index.ts",
      "const settings",
      "await new Promise((done) => setTimeout(done, 60_000));\nconst settings",
    );
    repo.commit("take long");
    const main = join(process.cwd(), "tools/preview/main.ts");
    const child = spawn(process.execPath, [main, "--stack", "dev"], { cwd: repo.folder, stdio: "ignore" });
    const worktrees = () => repo.git("worktree", "list").trim().split("\n").length;
    // git writes the index last.
    await vi.waitUntil(() => existsSync(join(repo.folder, ".git/worktrees/base/index")), { timeout: 60_000 });
    expect(worktrees()).toBe(2);
    child.kill("SIGTERM");
    const [code] = await once(child, "exit");
    expect({ code, worktrees: worktrees() }).toEqual({ code: 130, worktrees: 1 });
  });

  test("are the base's own dependencies where its lock file names others", async () => {
    repo.branch("dependencies");
    const lock = JSON.parse(readFileSync(join(repo.folder, "package-lock.json"), "utf8"));
    lock.packages["node_modules/zod"].version = "0.0.0";
    repo.write("package-lock.json", JSON.stringify(lock));
    repo.commit("another zod");
    // In place of npm: says what it was asked for, and installs by a link.
    const tools = join(repo.folder, ".git/tools");
    mkdirSync(tools);
    const npm = `#!/bin/sh\necho "$@" > ${tools}/asked\nln -s ${process.cwd()}/node_modules node_modules\n`;
    writeFileSync(join(tools, "npm"), npm, { mode: 0o755 });
    const env = { ...process.env, PATH: `${tools}:${process.env["PATH"]}` };
    const main = join(process.cwd(), "tools/preview/main.ts");
    const { code, stdout } = await command(process.execPath, [main, "--stack", "dev"], repo.folder, env);
    expect(code).toBe(0);
    expect(stdout).toContain("its own, installed by npm ci");
    expect(readFileSync(join(tools, "asked"), "utf8")).toMatch(/^ci .*--ignore-scripts/);
  });

  test("includes encrypted settings, of which only a change is told", async () => {
    repo.branch("encrypted");
    repo.edit("Pulumi.dev.yaml", "config:\n", encrypted("v1:former-cipher"));
    repo.commit("encrypt");
    repo.git("branch", "--force", "encrypted-base");
    repo.edit("Pulumi.dev.yaml", "v1:former-cipher", "v1:present-cipher");
    repo.commit("encrypt anew");
    const { stdout } = await repo.preview("--stack", "dev", "--base", "encrypted-base", "--json");
    expect(stdout).not.toContain("-cipher");
    expect(stdout).toContain('"path": "kubeconfig"');
  });
});

describe("bad input", () => {
  const cases: readonly [what: string, prepare: () => void, args: readonly string[], message: RegExp][] = [
    ["no stack", () => undefined, [], /name the stack: --stack dev or --stack prod/],
    ["an unknown stack", () => undefined, ["--stack", "test"], /no stack "test".*there are dev and prod/],
    ["a stack that is a path", () => undefined, ["--stack", "../dev"], /is not a valid stack name/],
    ["an unknown option", () => undefined, ["--stack", "dev", "--bse", "x"], /--bse/],
    [
      "a base that there is not",
      () => undefined,
      ["--stack", "dev", "--base", "v9"],
      /no revision "v9".*git fetch/,
    ],
    ["a base that is an option", () => undefined, ["--stack", "dev", "--base=--all"], /no revision "--all"/],
    [
      "a program that throws",
      () => repo.edit("index.ts", "const settings", 'throw new Error("no luck");\nconst settings'),
      ["--stack", "dev"],
      /The working tree, cannot be previewed:\n.*no luck/s,
    ],
    [
      "settings at fault",
      () => repo.edit("Pulumi.dev.yaml", "storage: 8Gi", "storage: 1Gi"),
      ["--stack", "dev"],
      /The working tree.*configuration has 1 error/s,
    ],
  ];
  test.each(cases)("%s: says so, prints no report and fails", async (what, prepare, args, message) => {
    repo.branch(`bad-${what.replaceAll(" ", "-")}`);
    prepare();
    repo.commit(what);
    const { code, stdout, stderr } = await repo.preview(...args);
    expect(stderr).toMatch(message);
    const isUsageError = ["no stack", "a stack that is a path", "an unknown option"].includes(what);
    expect({ code, stdout }).toEqual({ code: isUsageError ? 2 : 1, stdout: "" });
    expect(readdirSync(tmpdir()).filter((entry) => entry.startsWith("geocrop-preview-"))).toEqual([]);
  });

  test("a base that does not build: says that it is the base", async () => {
    repo.branch("broken-base");
    repo.edit("index.ts", "const settings", "const const settings");
    repo.commit("break");
    repo.git("branch", "--force", "broken");
    repo.edit("index.ts", "const const settings", "const settings");
    repo.commit("mend");
    const { code, stderr } = await repo.preview("--stack", "dev", "--base", "broken");
    expect(code).toBe(1);
    expect(stderr).toMatch(/The base, broken \([0-9a-f]{9}\), cannot be previewed:/);
  });

  test("a dirty tree: names what is changed, and can be looked at on demand", async () => {
    repo.branch("dirty");
    repo.edit("Pulumi.dev.yaml", "geocrop-models: { quota: 1Gi }", "geocrop-models: { quota: 2Gi }");
    const refused = await repo.preview("--stack", "dev");
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/Pulumi\.dev\.yaml\nCommit or stash them, or add --dirty/);
    const { code, stdout } = await repo.preview("--stack", "dev", "--dirty");
    expect(code).toBe(2);
    expect(stdout).toContain("and 1 uncommitted");
    repo.git("checkout", "--quiet", "--", ".");
  });

  test("a stack that only the head has: all of it is created", async () => {
    repo.branch("new-stack");
    repo.write("Pulumi.try.yaml", readFileSync("Pulumi.dev.yaml", "utf8"));
    repo.commit("a third stack");
    const { code, stdout } = await repo.preview("--stack", "try");
    expect(code).toBe(2);
    expect(stdout).toMatch(/the stack is new/);
    expect(stdout).toMatch(/\d+ to create, 0 unchanged/);
  });

  test("a folder that is in no repository, and a machine without git: says so", async () => {
    const folder = mkdtempSync(join(tmpdir(), "geocrop-none-"));
    const main = join(process.cwd(), "tools/preview/main.ts");
    for (const file of ["Pulumi.yaml", "Pulumi.dev.yaml", "package.json"]) {
      writeFileSync(join(folder, file), readFileSync(file));
    }
    const outside = await command(process.execPath, [main, "--stack", "dev"], folder);
    expect(outside).toMatchObject({ code: 1, stderr: expect.stringContaining("is in no git repository") });
    const env = { ...process.env, PATH: "/nonexistent" };
    const gitless = await command(process.execPath, [main, "--stack", "dev"], folder, env);
    expect(gitless).toMatchObject({ code: 1, stderr: expect.stringContaining("git is not installed") });
    rmSync(folder, { recursive: true });
  });
});
