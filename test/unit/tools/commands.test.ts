import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";

// Each starts a process of its own, which takes its time on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

const manifest: { scripts: Record<string, string> } = JSON.parse(readFileSync("package.json", "utf8"));

/** Benchmarks take minutes and have no options to speak of: they are run by those who read them. */
const isBenchmark = (name: string) => name.startsWith("bench:");
const commands = Object.entries(manifest.scripts).filter(
  ([name, script]) => script.startsWith("node ") && !isBenchmark(name),
);

function run(script: string, ...args: readonly string[]) {
  const [, ...given] = script.split(" ");
  const env = { ...process.env, KUBECONFIG: "/nonexistent/kubeconfig" };
  return spawnSync(process.execPath, [...given, ...args], { encoding: "utf8", env });
}

const golden = () => spawnSync("git", ["status", "--porcelain", "test/golden"], { encoding: "utf8" }).stdout;

describe.each(commands)("npm run %s", (name, script) => {
  test("--help prints how it is used, and does nothing", () => {
    const before = golden();
    const { status, stdout, stderr } = run(script, "--help");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout.split("\n")[0]).toMatch(/^[A-Z].+[.:]/);
    expect(stdout).toMatch(new RegExp(`npm run (--silent )?${name}\\b`));
    expect(golden()).toBe(before);
  });

  test("a wrong option is a usage error that names it", () => {
    const { status, stdout, stderr } = run(script, "--no-such-flag");
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr.trim().split("\n")[0]).toMatch(/[Uu]nknown option '--no-such-flag'/);
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  test("is started by what checks for Node's version and the packages", () => {
    expect(script).toMatch(/^node --require \.\/tools\/require-node\.cjs /);
  });
});

test("every command is among those tried", () => {
  expect(commands.map(([name]) => name)).toEqual(
    expect.arrayContaining(["audit", "golden", "job", "preview", "render", "sandbox", "token", "verify"]),
  );
});

test("-h is --help, wherever it stands", () => {
  const { status, stdout } = run(manifest.scripts["render"] ?? "", "--stack", "dev", "-h");
  expect({ status, stdout }).toEqual({ status: 0, stdout: expect.stringContaining("npm run render") });
});

test.each([
  ["job", ["submit", "--job", "a", "x.tif"], 2, /owner \(--owner NAME\) is missing/],
  ["job", ["submit", "--owner", "a", "--job", "../a", "x.tif"], 2, /\.\.\/a is not a valid job id/],
  [
    "job",
    ["submit", "--owner", "a", "--job", "a", "/nonexistent.tif"],
    1,
    /^job: \/nonexistent\.tif does not exist$/m,
  ],
  ["job", ["remove"], 2, /there is no command "remove"/],
  ["token", [], 2, /--sub NAME\) is missing/],
  ["token", ["--sub", "a", "--ttl", "2d"], 2, /--ttl 2d is not a valid time/],
  ["token", ["--sub", "a", "more"], 2, /unexpected argument "more"/],
  ["audit", ["--since", "yesterday"], 2, /--since yesterday is not a valid time/],
  ["verify", ["--only", "nope"], 2, /no check or family "nope"/],
  ["verify", ["--owner-token-file", "x"], 2, /go together/],
  ["verify", ["--config-file", "/nonexistent.yaml"], 1, /\/nonexistent/],
  ["render", ["--stack", "dev"], 2, /--out DIR\) is missing/],
])("%s %j ends with exit code %i and says why", (name, args, code, message) => {
  const { status, stdout, stderr } = run(manifest.scripts[name] ?? "", ...args);
  expect(stderr).toMatch(message);
  expect({ status, stdout }).toEqual({ status: code, stdout: "" });
  expect(stderr.trim().split("\n").length).toBeLessThanOrEqual(code === 2 ? 2 : 1);
});

describe("a machine that is not prepared", () => {
  const check = join(process.cwd(), "tools/require-node.cjs");
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "geocrop-unprepared-"));
    writeFileSync(join(folder, "command.js"), 'console.log("runs")');
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test("with an older Node is told so in one line", () => {
    const old = join(folder, "old.cjs");
    writeFileSync(old, 'Object.defineProperty(process.versions, "node", { value: "20.20.1" });');
    const args = ["--require", old, "--require", check, join(folder, "command.js")];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    expect(stderr).toMatch(/^Node 22\.18 or newer is needed, and this is 20\.20\.1: .*\n$/);
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
  });

  test("without packages is told so in one line", () => {
    const copy = join(folder, "tools.cjs");
    writeFileSync(copy, readFileSync(check));
    const args = ["--require", copy, join(folder, "command.js")];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    expect(stderr).toMatch(
      /^The packages are not installed: run "npm ci" in the project's folder first\.\n$/,
    );
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
  });
});
