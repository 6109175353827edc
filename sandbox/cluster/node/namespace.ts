import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { network, nodeName } from "../../layout.ts";
import { cniConfig, nodeRun } from "./config-files.ts";
import type { Plan } from "./plan.ts";

/**
 * What the kubelet would change in the host's kernel, each with the value it asks for. A file with that value hides the
 * real setting from it, and it leaves the host alone.
 * Source: `setupKernelTunables` in k8s.io/kubernetes pkg/kubelet/cm/container_manager_linux.go.
 */
const kernelSettings = {
  "vm/overcommit_memory": 1,
  "vm/panic_on_oom": 0,
  "kernel/panic": 10,
  "kernel/panic_on_oops": 1,
  "kernel/keys/root_maxkeys": 1_000_000,
  "kernel/keys/root_maxbytes": 25_000_000,
};

/** Folders that the node has for itself: what its processes leave there ends with it. */
const privateFolders = ["/run", "/var/lib", "/var/log"];

/**
 * Makes the namespaces this process was started in fit for a node: its own `/run`, `/var/lib` and `/var/log`, a `/sys`
 * that shows its own network, and the network itself. Nothing here is seen on the host.
 */
export async function setUpNamespace(plan: Plan): Promise<void> {
  mountTmpfs(plan.keep);
  mountOwnSys();
  maskKernelSettings();
  // Volumes the kubelet mounts must show up in containers that run already.
  run("mount", "--make-rshared", "/");

  mkdirSync(nodeRun.cniConfig, { recursive: true });
  writeFileSync(join(nodeRun.cniConfig, "10-sandbox.conflist"), cniConfig());
  writeFileSync(nodeRun.resolvConf, "# The sandbox's pods resolve the cluster's own names only.\n");
  mkdirSync(plan.kubelet, { recursive: true });

  run("hostname", nodeName);
  run("ip", "link", "set", "lo", "up");
  await waitForInterface();
  run("ip", "address", "add", `${network.nodeAddress}/${String(network.prefixLength)}`, "dev", "eth0");
  run("ip", "link", "set", "eth0", "up");
  run("ip", "route", "add", "default", "via", network.hostAddress);
  // Before kube-proxy has made its rules, a pod's call to a Service would vanish on the way out, and be tried again only
  // after half a minute. So it learns at once that there is no such host.
  run("ip", "rule", "add", "iif", network.bridge, "to", network.serviceCidr, "unreachable");
  for (const name of ["ipv4/ip_forward", "bridge/bridge-nf-call-iptables"]) {
    writeFileSync(join("/proc/sys/net", name), "1");
  }
}

/** Puts an empty file system over each private folder, with the folders to keep that lie below it in their old place. */
function mountTmpfs(keep: readonly string[]): void {
  for (const folder of privateFolders) {
    const kept = keep.filter((path) => path.startsWith(`${folder}/`));
    const staging = "/mnt";
    if (kept.length > 0) run("mount", "-t", "tmpfs", "-o", "mode=0755", "staging", staging);
    const staged = kept.map((path, index) => {
      const place = join(staging, String(index));
      mkdirSync(place);
      run("mount", "--rbind", path, place);
      return { path, place };
    });
    run("mount", "-t", "tmpfs", "-o", "mode=0755,size=256m", "geocrop-sandbox", folder);
    for (const { path, place } of staged) {
      mkdirSync(path, { recursive: true });
      run("mount", "--rbind", place, path);
    }
    if (kept.length > 0) run("umount", "--recursive", "--lazy", staging);
  }
}

/** `/sys/class/net` shows the network of the process that mounted it. */
function mountOwnSys(): void {
  const staging = "/run/cgroup";
  mkdirSync(staging);
  run("mount", "--rbind", "/sys/fs/cgroup", staging);
  run("mount", "-t", "sysfs", "sysfs", "/sys");
  run("mount", "--rbind", staging, "/sys/fs/cgroup");
  run("umount", "--recursive", "--lazy", staging);
}

function maskKernelSettings(): void {
  const folder = "/run/geocrop-sandbox/kernel";
  mkdirSync(folder, { recursive: true });
  for (const [name, value] of Object.entries(kernelSettings)) {
    const real = join("/proc/sys", name);
    if (!existsSync(real)) continue;
    const shown = join(folder, name.replaceAll("/", "-"));
    writeFileSync(shown, `${String(value)}\n`);
    run("mount", "--bind", shown, real);
  }
}

/** The host hands the node its end of the veth pair as soon as it knows the node's first process. */
async function waitForInterface(): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    if (existsSync("/sys/class/net/eth0")) return;
    await sleep(50);
  }
  throw new Error("the host gave this node no network interface within 10 s");
}

function run(command: string, ...args: readonly string[]): void {
  execFileSync(command, args, { stdio: ["ignore", "ignore", "inherit"] });
}
