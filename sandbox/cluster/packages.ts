import { existsSync } from "node:fs";
import { chmod, rm, writeFile } from "node:fs/promises";
import type { Step } from "../progress.ts";
import type { Run } from "../run.ts";

/** Debian packages the sandbox needs, each with a file that shows that it is there. */
export const packages = [
  { name: "etcd-server", provides: "/usr/bin/etcd" },
  { name: "containerd", provides: "/usr/bin/containerd" },
  { name: "runc", provides: "/usr/sbin/runc" },
  { name: "containernetworking-plugins", provides: "/usr/lib/cni/bridge" },
  { name: "buildah", provides: "/usr/bin/buildah" },
  { name: "nftables", provides: "/usr/sbin/nft" },
  { name: "iptables", provides: "/usr/sbin/iptables" },
  { name: "catatonit", provides: "/usr/bin/catatonit" },
  { name: "mmdebstrap", provides: "/usr/bin/mmdebstrap" },
  { name: "gdal-bin", provides: "/usr/bin/gdalinfo" },
  { name: "iproute2", provides: "/usr/sbin/ip" },
  { name: "openssl", provides: "/usr/bin/openssl" },
  { name: "ca-certificates", provides: "/etc/ssl/certs/ca-certificates.crt" },
] as const;

/** Names of the packages that are not installed. */
export function missingPackages(): readonly string[] {
  return packages.filter(({ provides }) => !existsSync(provides)).map(({ name }) => name);
}

const policyFile = "/usr/sbin/policy-rc.d";

/** Installs packages, and starts none of the services they bring: the sandbox runs its own, out of the host's sight. */
export async function installPackages(names: readonly string[], run: Run, step: Step): Promise<void> {
  const apt = (args: readonly string[], uninterruptible: boolean) =>
    run("apt-get", ["-q", "-o", "DPkg::Lock::Timeout=120", ...args], {
      env: { DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C" },
      onLine: (line) => step.doing(line.slice(0, 100)),
      uninterruptible,
    });
  step.doing("apt-get update");
  await apt(["update"], false);
  step.note(`installing ${names.join(", ")}`);
  await withoutServiceStarts(() =>
    // Cut in the middle, dpkg would leave packages half installed: a Ctrl-C waits for its end.
    apt(["install", "--yes", "--no-install-recommends", ...names], true),
  );
}

/** invoke-rc.d(8) asks this file before it starts a service; 101 means "not allowed". An administrator's own is left alone. */
async function withoutServiceStarts(work: () => Promise<unknown>): Promise<void> {
  const ours = !existsSync(policyFile);
  if (ours) {
    await writeFile(
      policyFile,
      "#!/bin/sh\n# Of the geocrop sandbox, while it installs packages.\nexit 101\n",
    );
    await chmod(policyFile, 0o755);
  }
  try {
    await work();
  } finally {
    if (ours) await rm(policyFile, { force: true });
  }
}
