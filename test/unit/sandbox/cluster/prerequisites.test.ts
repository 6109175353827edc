import { describe, expect, test } from "vitest";
import {
  type MachineFacts,
  PrerequisitesError,
  compareVersions,
  faultsOf,
} from "../../../../sandbox/cluster/prerequisites.ts";

const gibibyte = 1024 ** 3;

const goodMachine: MachineFacts = {
  platform: "linux",
  architecture: "x64",
  userId: 0,
  distributions: ["debian"],
  capabilities: (1n << 41n) - 1n,
  missingKernelFeatures: [],
  packagesMissing: ["runc"],
  hasApt: true,
  buildsMissing: ["minio"],
  goVersion: "1.26.8",
  goVersionNeeded: "1.26.0",
  memoryBytes: 8 * gibibyte,
  disks: [
    {
      folder: "/data",
      environmentName: "GEOCROP_SANDBOX_DATA",
      freeBytes: 20 * gibibyte,
      neededBytes: 4 * gibibyte,
      isOverlay: false,
    },
  ],
  subnetUsers: [],
  otherRun: undefined,
  otherSandbox: undefined,
};

const problems = (change: Partial<MachineFacts>): readonly string[] =>
  faultsOf({ ...goodMachine, ...change }).map(({ problem }) => problem);

describe("prerequisites", () => {
  test("a good machine has nothing in the way", () => {
    expect(problems({})).toEqual([]);
  });

  test.each([
    { change: { platform: "darwin" }, problem: "this is darwin, not Linux" },
    { change: { userId: 1000 }, problem: "not run as root" },
    { change: { architecture: "riscv64" }, problem: "the processor is riscv64" },
    { change: { distributions: ["fedora"] }, problem: "missing: runc" },
    { change: { capabilities: 0n }, problem: "root lacks CAP_SYS_ADMIN, CAP_NET_ADMIN" },
    { change: { missingKernelFeatures: ["overlay file systems"] }, problem: "the kernel lacks overlay" },
    { change: { goVersion: undefined }, problem: "there is no go on the PATH" },
    { change: { goVersion: "1.25.9" }, problem: "Go is 1.25.9" },
    { change: { memoryBytes: 5 * gibibyte }, problem: "the machine has 5.0 GiB of memory" },
    { change: { subnetUsers: ["eth1"] }, problem: "interface eth1" },
    { change: { otherRun: 4711 }, problem: "another run of the sandbox is under way, process 4711" },
    { change: { otherSandbox: "/other" }, problem: "another sandbox runs, with its data in /other" },
  ])("$problem", ({ change, problem }) => {
    expect(problems(change)).toEqual([expect.stringContaining(problem)]);
  });

  test("a full disk and an overlay are told with the variable that names another folder", () => {
    const disk = { ...goodMachine.disks[0], freeBytes: gibibyte, isOverlay: true };
    const faults = faultsOf({
      ...goodMachine,
      disks: [
        { folder: "/data", environmentName: "GEOCROP_SANDBOX_DATA", neededBytes: 4 * gibibyte, ...disk },
      ],
    });
    expect(faults).toHaveLength(2);
    for (const { remedy } of faults) expect(remedy).toContain("GEOCROP_SANDBOX_DATA");
  });

  test("what is needed to build is not asked of a machine that has it all built", () => {
    const built = { buildsMissing: [], goVersion: undefined, memoryBytes: 4 * gibibyte };
    expect(problems(built)).toEqual([]);
  });

  test("another distribution will do once it has the packages", () => {
    expect(problems({ distributions: ["fedora"], packagesMissing: [], hasApt: false })).toEqual([]);
  });

  test("all faults are told at once, each with its remedy", () => {
    const faults = faultsOf({ ...goodMachine, userId: 1000, goVersion: "1.20", subnetUsers: ["eth1"] });
    const { message } = new PrerequisitesError(faults);
    for (const { problem, remedy } of faults) {
      expect(message).toContain(problem);
      expect(message).toContain(remedy);
    }
    expect(faults).toHaveLength(3);
  });

  test.each([
    ["1.26.8", "1.26.0", 1],
    ["1.9", "1.26.0", -1],
    ["1.26", "1.26.0", 0],
    ["1.27rc1", "1.26.3", 1],
    ["2.0", "1.99.99", 1],
  ])("%s against %s", (a, b, sign) => {
    expect(Math.sign(compareVersions(a, b))).toBe(sign);
  });
});
