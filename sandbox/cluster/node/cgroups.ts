import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { nodeName } from "../../layout.ts";

const mountPoint = "/sys/fs/cgroup";

/** Whether this machine has the one hierarchy of cgroup v2; else there is one for each controller. */
export function isUnified(): boolean {
  return existsSync(join(mountPoint, "cgroup.controllers"));
}

/** The sandbox's folder in each hierarchy. */
async function sandboxCgroups(): Promise<readonly string[]> {
  if (isUnified()) return [join(mountPoint, nodeName)];
  const entries = await readdir(mountPoint, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory() && existsSync(join(mountPoint, entry.name, "cgroup.procs")))
    .map((entry) => join(mountPoint, entry.name, nodeName));
}

/**
 * Makes the sandbox's control group: `node` below it for the node's own processes, `kubepods` for the kubelet to make.
 * Returns the `cgroup.procs` files that the node's first process has to write itself to.
 */
export async function createCgroups(): Promise<readonly string[]> {
  const files: string[] = [];
  for (const cgroup of await sandboxCgroups()) {
    await mkdir(join(cgroup, "node"), { recursive: true });
    if (isUnified()) {
      const controllers = await readFile(join(mountPoint, "cgroup.controllers"), "utf8");
      const enable = controllers
        .trim()
        .split(" ")
        .map((name) => `+${name}`)
        .join(" ");
      for (const folder of [mountPoint, cgroup])
        await writeFile(join(folder, "cgroup.subtree_control"), enable);
    } else {
      // A new cpuset has neither processors nor memory, and takes no process until it has.
      for (const name of ["cpuset.cpus", "cpuset.mems"]) {
        if (!existsSync(join(cgroup, name))) continue;
        const value = await readFile(join(cgroup, "..", name), "utf8");
        for (const folder of [cgroup, join(cgroup, "node")]) await writeFile(join(folder, name), value);
      }
    }
    files.push(join(cgroup, "node", "cgroup.procs"));
  }
  return files;
}

/** Removes the sandbox's control group from every hierarchy. Its processes must have ended. */
export async function removeCgroups(): Promise<void> {
  for (const cgroup of await sandboxCgroups()) await removeTree(cgroup);
}

/** Whether any is left. */
export async function cgroupsExist(): Promise<boolean> {
  return (await sandboxCgroups()).some((cgroup) => existsSync(cgroup));
}

/** The processes of a cgroup and of those below it, as this process's namespace numbers them. */
export async function processesIn(subgroup: string): Promise<readonly number[]> {
  const roots = await sandboxCgroups();
  const root = roots.find((path) => path.startsWith(join(mountPoint, "pids/"))) ?? roots[0];
  return root === undefined ? [] : await collect(join(root, subgroup));
}

/** Memory the sandbox uses, in bytes: what is charged to it, without the cache of file pages it could give back. */
export async function memoryUsed(): Promise<number | undefined> {
  const cgroup = isUnified() ? join(mountPoint, nodeName) : join(mountPoint, "memory", nodeName);
  const [usageName, inactive] = isUnified()
    ? ["memory.current", /^inactive_file (\d+)$/m]
    : ["memory.usage_in_bytes", /^total_inactive_file (\d+)$/m];
  try {
    const usage = Number(await readFile(join(cgroup, usageName), "utf8"));
    const cache = inactive.exec(await readFile(join(cgroup, "memory.stat"), "utf8"))?.[1] ?? "0";
    return usage - Number(cache);
  } catch {
    return undefined;
  }
}

async function collect(folder: string): Promise<readonly number[]> {
  if (!existsSync(folder)) return [];
  const own = (await readFile(join(folder, "cgroup.procs"), "utf8"))
    .split("\n")
    .filter((line) => line !== "");
  const entries = await readdir(folder, { withFileTypes: true });
  const below = await Promise.all(
    entries.filter((entry) => entry.isDirectory()).map((entry) => collect(join(folder, entry.name))),
  );
  return [...own.map(Number), ...below.flat()];
}

/** A cgroup's folder holds files that can't be deleted: only `rmdir` from the leaves up takes it away. */
async function removeTree(folder: string): Promise<void> {
  if (!existsSync(folder)) return;
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeTree(join(folder, entry.name));
  }
  await rmdir(folder);
}
