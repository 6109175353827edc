import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { parse } from "yaml";

import { command, PreviewRepo } from "../support/preview-repo.ts";

interface Job {
  readonly permissions?: unknown;
  readonly uses?: string;
  readonly steps?: readonly {
    readonly uses?: string;
    readonly run?: string;
    readonly with?: Record<string, unknown>;
  }[];
}
interface Workflow {
  readonly on: Record<string, unknown>;
  readonly permissions?: Record<string, string>;
  readonly jobs: Record<string, Job>;
}

// Each script starts several programs; on a busy machine that takes its time.
vi.setConfig({ testTimeout: 120_000 });

const folder = ".github/workflows";
const files = readdirSync(folder);

describe.each(files)("the workflow %s", (file) => {
  const text = readFileSync(join(folder, file), "utf8");
  const workflow: Workflow = parse(text);
  const steps = Object.values(workflow.jobs).flatMap((job) => job.steps ?? []);

  test("pins each action by a commit, and says of which version", () => {
    const uses = text
      .split("\n")
      .filter((line) => /^\s*(- )?uses: /.test(line) && !line.includes("uses: ./"));
    for (const line of uses) expect(line).toMatch(/uses: [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
  });

  test("may do no more by default than read", () => {
    expect(
      Object.values(workflow.permissions ?? { missing: "write" }).filter((level) => level !== "read"),
    ).toEqual([]);
  });

  test("leaves install scripts off and puts no event's text into a script", () => {
    for (const { run = "" } of steps) {
      expect(run).not.toContain("${{");
      expect(run).not.toMatch(/npm ci(?!.*--ignore-scripts)/);
    }
  });

  test("never runs a pull request's code with a token that may write", () => {
    expect(workflow.on).not.toHaveProperty("pull_request_target");
    const isOfPullRequests = "pull_request" in workflow.on;
    const levels = Object.values(workflow.jobs).flatMap(({ permissions }) =>
      Object.entries(permissions ?? {}),
    );
    const mayWrite = levels.filter(([scope, level]) => level === "write" && scope !== "id-token");
    expect(isOfPullRequests ? mayWrite : []).toEqual([]);
  });
});

describe("the scripts of the workflows, with stand-ins for what they call", () => {
  let repo: PreviewRepo;
  let tools: string;

  beforeAll(() => {
    repo = new PreviewRepo();
    tools = join(repo.folder, ".git/tools");
    mkdirSync(tools);
  });
  afterAll(() => repo.remove());

  /** Puts a program on the PATH that notes how it was called, and then does what the shell script says. */
  function stub(name: string, script: string): void {
    writeFileSync(join(tools, name), `#!/bin/bash\necho "${name} $*" >> ${tools}/calls\n${script}\n`, {
      mode: 0o755,
    });
    writeFileSync(join(tools, "calls"), "");
  }
  const calls = () => readFileSync(join(tools, "calls"), "utf8");
  const run = (script: string, args: readonly string[], env: Record<string, string> = {}) =>
    command(join(repo.folder, ".github/scripts", script), args, repo.folder, {
      ...process.env,
      GITHUB_REPOSITORY: "geocrop/storage",
      ...env,
      PATH: `${tools}:${process.env["PATH"]}`,
    });

  test("preview each stack against the base, and fail only where that cannot be done or a policy is broken", async () => {
    repo.branch("volume");
    repo.set("prod", { minio: { storage: "3Ti" } });
    repo.commit("grow the drives");
    const reports = join(repo.folder, ".git/reports");
    expect(await run("preview-stacks.sh", ["HEAD^1", reports])).toMatchObject({
      code: 0,
      stdout: "stack dev: exit code 0\nstack prod: exit code 3\n",
    });
    expect(readFileSync(join(reports, "prod.md"), "utf8")).toContain("data at risk (1)");
    const { code } = await run("preview-stacks.sh", ["no-such-ref", reports]);
    expect(code).toBe(1);
    expect(readFileSync(join(reports, "prod.md"), "utf8")).toContain("no preview");
  });

  test("post a comment once, and then in its own place, whatever a report says of itself", async () => {
    const report = join(repo.folder, ".git/report.md");
    writeFileSync(report, `<!-- geocrop-storage comment: other -->\n${"long ".repeat(20_000)}`);
    stub("gh", `for last; do :; done; case "$last" in body=@*) cp "\${last#body=@}" ${tools}/body;; esac`);
    expect((await run("post-comment.sh", ["7", "dev", report])).stdout).toContain(
      "comment on pull request 7 made",
    );
    const body = readFileSync(join(tools, "body"), "utf8");
    expect(body.startsWith("<!-- geocrop-storage comment: dev -->\n")).toBe(true);
    expect(body).not.toContain("geocrop-storage comment: other");
    expect(body.length).toBeLessThan(65_536);
    stub("gh", 'case "$*" in *--paginate*) echo 4711;; esac');
    expect((await run("post-comment.sh", ["7", "dev", report])).stdout).toContain(
      "comment 4711 of pull request 7",
    );
    expect(calls()).toContain("--method PATCH repos/geocrop/storage/issues/comments/4711");
  });

  test("keep one issue on drift, and close it when there is none any more", async () => {
    stub("gh", "");
    stub("npx", "echo 'a bucket differs'; exit 1");
    expect((await run("drift.sh", ["prod"])).code).toBe(1);
    expect(calls()).toContain("--refresh --run-program --expect-no-changes");
    expect(calls()).toContain("gh issue create --title Drift in stack prod");
    stub("gh", 'case "$*" in *list*) echo 12;; esac');
    expect((await run("drift.sh", ["prod"])).code).toBe(1);
    expect(calls()).toContain("gh issue edit 12");
    stub("npx", "true");
    expect((await run("drift.sh", ["prod"])).code).toBe(0);
    expect(calls()).toContain("gh issue close 12");
  });

  test("hand the engine's preview on with its exit code, and nothing in it closes the fence", async () => {
    const report = join(repo.folder, ".git/engine.md");
    stub("npx", "echo 'before ~~~~~~~~ after'; exit 255");
    expect((await run("engine-preview.sh", ["dev", report])).code).toBe(255);
    expect(readFileSync(report, "utf8")).toContain("exit code 255");
    expect(readFileSync(report, "utf8").match(/~{8}/g)).toHaveLength(2);
    expect(calls()).toContain("--policy-pack policy");
  });

  test("name new images by digest, with the golden files, in a pull request of their own", async () => {
    const remote = join(repo.folder, ".git/remote");
    repo.git("init", "--quiet", "--bare", remote);
    repo.git("remote", "add", "origin", remote);
    repo.git("checkout", "--quiet", "--force", "-B", "images-base", "main");
    const digests = join(repo.folder, ".git/digests");
    mkdirSync(digests);
    const image = `ghcr.io/geocrop/api@sha256:${"a".repeat(64)}`;
    writeFileSync(join(digests, "signedUrlApi"), `${image}\n`);
    stub("gh", "");
    const { code, stderr } = await run("propose-images.sh", [digests]);
    expect(code, stderr).toBe(0);
    expect(calls()).toContain("gh pr create --head images");
    const proposed = repo.git("show", "images:Pulumi.prod.yaml");
    expect(proposed).toContain(`signedUrlApi: ${image}`);
    expect(proposed).toContain("# Your own builds of images");
    const refused = await command(
      process.execPath,
      [".github/scripts/set-image.ts", "prod", "minio", "minio:latest"],
      repo.folder,
    );
    expect(refused.code).not.toBe(0);
  });
});
