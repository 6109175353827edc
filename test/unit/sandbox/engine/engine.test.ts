import { chmodSync, existsSync, mkdirSync, mkdtempSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import type * as builds from "../../../../sandbox/cluster/builds.ts";
import { describeEngine, prepareEngine, refuseOldSandbox } from "../../../../sandbox/engine/engine.ts";
import { layoutOf } from "../../../../sandbox/layout.ts";
import { CommandError, type Run } from "../../../../sandbox/run.ts";

const built = vi.hoisted(() => ({ names: new Set<string>() }));
vi.mock(import("../../../../sandbox/cluster/builds.ts"), async (original) => {
  const ensureBuild: typeof builds.ensureBuild = (_layout, _run, _step, build) => {
    built.names.add(build.name);
    return Promise.resolve(`/built/${build.name}`);
  };
  return {
    ...(await original()),
    ensureBuild,
    isBuilt: (_, build) => Promise.resolve(built.names.has(build.name)),
  };
});

const step = { note: () => undefined, doing: () => undefined };
const output = (stdout: string) => Promise.resolve({ stdout, stderr: "" });

let folder: string;
let commands: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "engine-"));
  commands = [];
  built.names.clear();
  vi.stubEnv("PATH", join(folder, "bin"));
  vi.stubEnv("PULUMI_HOME", join(folder, "home"));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

const layout = () => ({
  ...layoutOf(),
  data: join(folder, "data"),
  pulumiHome: join(folder, "sandbox-home"),
});

function executable(path: string): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, "#!/bin/sh\n");
  chmodSync(path, 0o755);
  return path;
}

/** A machine from which nothing can be downloaded. */
const offline: Run = (name, args) => {
  commands.push([name, ...args].join(" "));
  return Promise.reject(new CommandError(name, "failed (exit code 1)", 1, { stdout: "", stderr: "" }));
};

/** A machine from which the npm package fetches its CLI, and the CLI its plugins. */
const online: Run = (name, args) => {
  const line = [name, ...args].join(" ");
  commands.push(line);
  const plugin = /plugin install resource (\S+) v(\S+)/.exec(line);
  const home = join(folder, "sandbox-home");
  if (plugin !== null) {
    executable(join(home, `plugins/resource-${plugin[1]}-v${plugin[2]}/pulumi-resource-${plugin[1]}`));
    return output("");
  }
  executable(join(home, "versions/3.265.0/bin/pulumi"));
  return output("v3.265.0\n");
};

describe("Pulumi's engine", () => {
  test("is built, with stand-ins, where nothing is installed and nothing can be downloaded", async () => {
    const { cli, plugins } = await prepareEngine(layout(), offline, step);
    expect(cli.origin).toBe("built");
    expect(readlinkSync(join(cli.root, "bin/pulumi"))).toBe("/built/pulumi/pulumi");
    expect(plugins).toEqual({ kubernetes: "built", random: "stand-in", tls: "stand-in", minio: "stand-in" });
  });

  test("is asked of no site a second time, once it was built", async () => {
    await prepareEngine(layout(), offline, step);
    commands = [];
    await prepareEngine(layout(), offline, step);
    expect(commands).toEqual([]);
  });

  test("is downloaded where that works, and nothing is built", async () => {
    const { cli, plugins } = await prepareEngine(layout(), online, step);
    expect(cli.origin).toBe("npm");
    expect(new Set(Object.values(plugins))).toEqual(new Set(["official"]));
    expect(built.names).toEqual(new Set());
  });

  test("is the installed one first: the CLI on the PATH, plugins on the PATH or in the user's PULUMI_HOME", async () => {
    const command = executable(join(folder, "bin/pulumi"));
    executable(join(folder, "bin/pulumi-resource-minio"));
    executable(join(folder, "home/plugins/resource-random-v4.21.2/pulumi-resource-random"));
    const { cli, plugins } = await prepareEngine(layout(), offline, step);
    expect(cli.origin).toBe("PATH");
    expect(readlinkSync(join(cli.root, "bin/pulumi"))).toBe(command);
    expect(plugins).toEqual({ kubernetes: "built", random: "official", tls: "stand-in", minio: "official" });
  });

  test("names each stand-in that it uses", async () => {
    const engine = await prepareEngine(layout(), offline, step);
    expect(describeEngine(engine).join("\n")).toContain(
      "stand-ins for plugins that can't be downloaded here: random, tls, minio",
    );
  });
});

test.each(["engine", "embedded-state.json"])(
  "data of an earlier version (%s) is refused, and not touched",
  (name) => {
    const file = join(layout().data, name);
    mkdirSync(layout().data);
    writeFileSync(file, "old");
    expect(() => refuseOldSandbox(layout())).toThrow(/down --purge/);
    expect(existsSync(file)).toBe(true);
  },
);

test("data of this version is not refused", () => {
  expect(() => refuseOldSandbox(layout())).not.toThrow();
});
