import { existsSync } from "node:fs";
import { readFile, statfs } from "node:fs/promises";
import { networkInterfaces, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { builds, missingBuilds, moduleFolder } from "./builds.ts";
import { type Layout, network } from "../layout.ts";
import { lockHolder } from "../lock.ts";
import { otherNodesData, runningNode } from "./node/host.ts";
import { missingPackages } from "./packages.ts";
import { size } from "../progress.ts";
import type { Run } from "../run.ts";

/** What this machine is like, as far as the sandbox cares. */
export interface MachineFacts {
  readonly platform: string;
  readonly architecture: string;
  readonly userId: number;
  /** `ID` and `ID_LIKE` of os-release(5). */
  readonly distributions: readonly string[];
  /** Effective capabilities, a bit each (capabilities(7)). */
  readonly capabilities: bigint;
  readonly missingKernelFeatures: readonly string[];
  readonly packagesMissing: readonly string[];
  readonly hasApt: boolean;
  readonly buildsMissing: readonly string[];
  /** Version of Go, such as `1.26.8`; undefined when there is none. */
  readonly goVersion: string | undefined;
  readonly goVersionNeeded: string;
  readonly memoryBytes: number;
  readonly disks: readonly DiskFacts[];
  /** Interfaces of the host with an address in the node's subnet, apart from our own. */
  readonly subnetUsers: readonly string[];
  /** A run of the sandbox that is under way. */
  readonly otherRun: number | undefined;
  /** Data folder of another sandbox that runs now. */
  readonly otherSandbox: string | undefined;
}

/** Room in a folder, and what the sandbox puts there. */
export interface DiskFacts {
  readonly folder: string;
  readonly environmentName: string;
  readonly freeBytes: number;
  readonly neededBytes: number;
  /** On a file system that is itself an overlay, containers' own overlays can't be mounted. */
  readonly isOverlay: boolean;
}

/** Something in the way, and what to do about it. */
export interface Fault {
  readonly problem: string;
  readonly remedy: string;
}

/** Something is in the way; the message has all of it. */
export class PrerequisitesError extends Error {
  constructor(faults: readonly Fault[]) {
    const list = faults.map(({ problem, remedy }) => `- ${problem}\n  ${remedy}`).join("\n");
    super(`This machine can't run the sandbox as it is. Nothing has been touched.\n${list}`);
    this.name = "PrerequisitesError";
  }
}

const gibibyte = 1024 ** 3;
const memoryNeeded = 4 * gibibyte;
const memoryNeededToBuild = 6 * gibibyte;
/** Binaries take 0.6 GiB, images and their bases 0.4, and as much again while they are built. */
const cacheNeeded = 3 * gibibyte;
/** Go keeps modules and compiled packages in caches of its own. An estimate, on the safe side. */
const buildCachesNeeded = 8 * gibibyte;
/** Containers, etcd, logs, and the volumes, which start empty. */
const dataNeeded = 4 * gibibyte;

const overlayMagic = 0x79_4c_76_30;
const capabilityBits = { CAP_SYS_ADMIN: 21n, CAP_NET_ADMIN: 12n, CAP_SYS_CHROOT: 18n, CAP_MKNOD: 27n };

/** Everything in the way at once, so that one look suffices. */
export function faultsOf(facts: MachineFacts): readonly Fault[] {
  const faults: Fault[] = [];
  const add = (problem: string, remedy: string): void => void faults.push({ problem, remedy });

  if (facts.platform !== "linux") {
    add(`this is ${facts.platform}, not Linux`, "run the sandbox in a Linux machine, real or virtual");
    return faults;
  }
  if (facts.userId !== 0) add("not run as root", "run it by sudo or as root: it makes namespaces and mounts");
  if (!["x64", "arm64"].includes(facts.architecture)) {
    add(`the processor is ${facts.architecture}`, "use a machine with an amd64 or arm64 processor");
  }
  if (facts.packagesMissing.length > 0) {
    const known = facts.distributions.some((id) => id === "debian" || id === "ubuntu");
    if (!known || !facts.hasApt) {
      add(
        `missing: ${facts.packagesMissing.join(", ")}; and only on Debian and Ubuntu does the sandbox install by itself`,
        "install what your distribution calls these, or use Debian 12 or later, or Ubuntu 22.04 or later",
      );
    }
  }
  const capabilitiesMissing = Object.entries(capabilityBits)
    .filter(([, bit]) => ((facts.capabilities >> bit) & 1n) === 0n)
    .map(([name]) => name);
  if (facts.userId === 0 && capabilitiesMissing.length > 0) {
    add(
      `root lacks ${capabilitiesMissing.join(", ")}`,
      "run it on a machine of its own, or in a privileged container (docker run --privileged)",
    );
  }
  for (const feature of facts.missingKernelFeatures) {
    add(`the kernel lacks ${feature}`, "load the module (modprobe), or use your distribution's stock kernel");
  }
  if (facts.buildsMissing.length > 0) {
    const wanted = `Go ${facts.goVersionNeeded} or later is needed to build ${facts.buildsMissing.join(", ")}`;
    if (facts.goVersion === undefined) {
      add("there is no go on the PATH", `${wanted}: see https://go.dev/doc/install`);
    } else if (compareVersions(facts.goVersion, facts.goVersionNeeded) < 0) {
      add(`Go is ${facts.goVersion}`, `${wanted}: see https://go.dev/doc/install`);
    }
  }
  const memory = facts.buildsMissing.length > 0 ? memoryNeededToBuild : memoryNeeded;
  // Firmware and kernel keep some of what the machine is sold with.
  if (facts.memoryBytes < memory * 0.9) {
    add(`the machine has ${size(facts.memoryBytes)} of memory`, `give it ${size(memory)} or more`);
  }
  for (const disk of facts.disks) {
    if (disk.freeBytes < disk.neededBytes) {
      add(
        `${disk.folder} has ${size(disk.freeBytes)} free, of ${size(disk.neededBytes)} needed`,
        `free some, or name another folder in ${disk.environmentName}`,
      );
    }
    if (disk.isOverlay) {
      add(
        `${disk.folder} is on an overlay file system, on which containers' own overlays can't be mounted`,
        `name a folder on a disk or a volume in ${disk.environmentName}`,
      );
    }
  }
  for (const user of facts.subnetUsers) {
    add(
      `interface ${user} has an address in ${network.hostAddress}/${String(network.prefixLength)}, the sandbox's subnet`,
      "give that interface another address while the sandbox runs",
    );
  }
  if (facts.otherRun !== undefined) {
    add(
      `another run of the sandbox is under way, process ${String(facts.otherRun)}`,
      "wait for its end, or end it: it cleans up after itself",
    );
  }
  if (facts.otherSandbox !== undefined) {
    add(
      `another sandbox runs, with its data in ${facts.otherSandbox}`,
      `stop it: GEOCROP_SANDBOX_DATA=${facts.otherSandbox} npm run sandbox -- down`,
    );
  }
  return faults;
}

/** Compares versions number by number: negative when `a` is the older. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split(".").map((part) => Number.parseInt(part, 10)));
  for (let index = 0; index < 3; index += 1) {
    const difference = (left?.[index] ?? 0) - (right?.[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Looks at the machine; changes nothing. */
export async function machineFacts(layout: Layout, run: Run): Promise<MachineFacts> {
  const linux = process.platform === "linux";
  const buildsMissing = (await missingBuilds(layout)).map(({ name }) => name);
  return {
    platform: process.platform,
    architecture: process.arch,
    userId: process.getuid?.() ?? -1,
    distributions: linux ? await distributions() : [],
    capabilities: linux ? await capabilities() : 0n,
    missingKernelFeatures: linux ? await missingKernelFeatures(run) : [],
    packagesMissing: missingPackages(),
    hasApt: existsSync("/usr/bin/apt-get"),
    buildsMissing,
    goVersion: await goVersion(run),
    goVersionNeeded: await goVersionNeeded(layout),
    memoryBytes: totalmem(),
    // A node that runs has taken its room already.
    disks: (await runningNode(layout)) !== undefined ? [] : await disks(layout, buildsMissing.length > 0),
    subnetUsers: subnetUsers(),
    otherRun: await lockHolder(layout.lock),
    otherSandbox: await otherNodesData(layout),
  };
}

async function distributions(): Promise<readonly string[]> {
  const text = await readText("/etc/os-release");
  return [...text.matchAll(/^ID(?:_LIKE)?="?([^"\n]*)"?$/gm)].flatMap((match) => (match[1] ?? "").split(" "));
}

async function capabilities(): Promise<bigint> {
  const hex = /^CapEff:\s*([0-9a-f]+)$/m.exec(await readText("/proc/self/status"))?.[1];
  return BigInt(`0x${hex ?? "0"}`);
}

/** A feature built as a module counts when the module can be loaded, which is done here: it is no more than a look. */
async function missingKernelFeatures(run: Run): Promise<readonly string[]> {
  const features = [
    ...["mnt", "net", "pid", "uts", "ipc"].map((kind) => ({
      name: `${kind} namespaces`,
      module: undefined,
      isThere: () => existsSync(`/proc/self/ns/${kind}`),
    })),
    {
      name: "overlay file systems",
      module: "overlay",
      isThere: async () => /\toverlay$/m.test(await readText("/proc/filesystems")),
    },
    {
      name: "netfilter on bridges (br_netfilter)",
      module: "br_netfilter",
      isThere: () => existsSync("/proc/sys/net/bridge/bridge-nf-call-iptables"),
    },
    {
      name: "control groups",
      module: undefined,
      isThere: async () => /^memory\t/m.test(await readText("/proc/cgroups")),
    },
  ];
  const missing: string[] = [];
  for (const { name, module, isThere } of features) {
    if (await isThere()) continue;
    if (module !== undefined) {
      // It may be built in under another name or not be a module at all: what counts is whether it is there afterwards.
      await run("modprobe", [module]).catch(() => undefined);
      if (await isThere()) continue;
    }
    missing.push(name);
  }
  return missing;
}

async function goVersion(run: Run): Promise<string | undefined> {
  try {
    const { stdout } = await run("go", ["env", "GOVERSION"], { env: { GOTOOLCHAIN: "local" }, cwd: "/" });
    return /^go(\S+)/.exec(stdout)?.[1];
  } catch {
    return undefined;
  }
}

/** The newest version any of our go.mod files asks for. */
async function goVersionNeeded(layout: Layout): Promise<string> {
  let needed = "1.25.0";
  for (const build of builds) {
    const text = await readText(join(moduleFolder(layout, build), "go.mod"));
    const version = /^go (\S+)$/m.exec(text)?.[1];
    if (version !== undefined && compareVersions(version, needed) > 0) needed = version;
  }
  return needed;
}

async function disks(layout: Layout, building: boolean): Promise<readonly DiskFacts[]> {
  const cache = await statfs(existingParent(layout.cache));
  const data = await statfs(existingParent(layout.data));
  return [
    {
      folder: layout.cache,
      environmentName: "GEOCROP_SANDBOX_CACHE",
      freeBytes: cache.bavail * cache.bsize,
      neededBytes: building ? cacheNeeded + buildCachesNeeded : gibibyte / 2,
      isOverlay: false,
    },
    {
      folder: layout.data,
      environmentName: "GEOCROP_SANDBOX_DATA",
      freeBytes: data.bavail * data.bsize,
      neededBytes: dataNeeded,
      isOverlay: data.type === overlayMagic,
    },
  ];
}

function existingParent(path: string): string {
  return existsSync(path) ? path : existingParent(dirname(path));
}

/** The pods' and the services' addresses live in the node's own network namespace: what the host does with them is its own affair. */
function subnetUsers(): readonly string[] {
  const subnet = subnetOf(network.nodeAddress, network.prefixLength);
  return Object.entries(networkInterfaces())
    .filter(([name]) => name !== network.hostInterface)
    .filter(([, addresses = []]) =>
      addresses.some(
        ({ family, address }) => family === "IPv4" && subnetOf(address, network.prefixLength) === subnet,
      ),
    )
    .map(([name]) => name);
}

function subnetOf(address: string, prefixLength: number): number {
  const value = address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
  return Math.floor(value / 2 ** (32 - prefixLength));
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch {
    return "";
  }
}
