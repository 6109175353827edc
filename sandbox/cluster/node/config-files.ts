import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { stringify } from "yaml";
import { type Layout, network, nodeName } from "../../layout.ts";
import { certificatePaths } from "./pki.ts";

/** Paths inside the node's own `/run`, which the host never sees. */
export const nodeRun = {
  containerdSocket: "/run/containerd/containerd.sock",
  containerdState: "/run/containerd",
  cniConfig: "/run/geocrop-sandbox/cni",
  /** Address leases of the pods. They end with the node: a stale one would cost an address for good. */
  ipam: "/run/geocrop-sandbox/ipam",
  resolvConf: "/run/geocrop-sandbox/resolv.conf",
} as const;

const clients = ["admin", "kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy", "node-agent"];

/** Path of a component's kubeconfig. */
export function kubeconfigPath(layout: Layout, client: string): string {
  return client === "admin" ? layout.kubeconfig : join(layout.config, `${client}.kubeconfig`);
}

/** Writes the configuration of every component. Returns the texts, which tell whether a running node is up to date. */
export async function writeConfigFiles(layout: Layout): Promise<readonly string[]> {
  const files: Record<string, string> = {
    [join(layout.config, "containerd.toml")]: containerdConfig(layout),
    [join(layout.config, "cni.conflist")]: cniConfig(),
    [join(layout.config, "kubelet.yaml")]: stringify(kubeletConfig(layout)),
    [join(layout.config, "kube-proxy.yaml")]: stringify(kubeProxyConfig(layout)),
  };
  for (const client of clients) {
    files[kubeconfigPath(layout, client)] = stringify(await kubeconfig(layout, client));
  }
  await mkdir(layout.config, { recursive: true, mode: 0o700 });
  for (const [path, text] of Object.entries(files)) await writeWhole(path, text);
  const encryption = join(layout.config, "encryption.yaml");
  // Written once: with another key, the Secrets already stored could not be read again.
  if (!existsSync(encryption)) {
    await writeWhole(encryption, stringify(encryptionConfig(randomBytes(32).toString("base64"))));
  }
  return Object.values(files);
}

/** Writes a file of mode 0600 at once: readers see the old text or the new one, never a part. */
export async function writeWhole(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(`${path}.part`, text, { mode: 0o600 });
  await rename(`${path}.part`, path);
}

async function kubeconfig(layout: Layout, client: string): Promise<object> {
  const paths = certificatePaths(layout.pki, client);
  return {
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      {
        name: "geocrop-sandbox",
        cluster: {
          server: `https://${network.nodeAddress}:${String(network.apiServerPort)}`,
          "certificate-authority-data": await base64(certificatePaths(layout.pki, "ca").certificate),
        },
      },
    ],
    users: [
      {
        name: client,
        user: {
          "client-certificate-data": await base64(paths.certificate),
          "client-key-data": await base64(paths.key),
        },
      },
    ],
    contexts: [{ name: "geocrop-sandbox", context: { cluster: "geocrop-sandbox", user: client } }],
    "current-context": "geocrop-sandbox",
  };
}

/**
 * containerd's configuration. A container's score for the kernel's out-of-memory killer is never lowered, which takes a
 * capability that many a virtual machine lacks. AppArmor is left alone: a profile would be loaded into the host's kernel.
 */
export function containerdConfig(layout: Layout): string {
  return `version = 2
root = ${JSON.stringify(layout.containerd)}
state = "${nodeRun.containerdState}"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
  address = "${nodeRun.containerdSocket}"

[plugins."io.containerd.grpc.v1.cri"]
  disable_apparmor = true
  disable_tcp_service = true
  restrict_oom_score_adj = true
  sandbox_image = "geocrop.sandbox/pause:dev"

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${nodeRun.cniConfig}"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    snapshotter = "overlayfs"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
`;
}

/** The pods' network: one bridge, addresses from one range, and host ports. */
export function cniConfig(): string {
  return JSON.stringify(
    {
      cniVersion: "0.4.0",
      name: "geocrop-sandbox",
      plugins: [
        {
          type: "bridge",
          bridge: network.bridge,
          isGateway: true,
          ipMasq: true,
          hairpinMode: true,
          ipam: {
            type: "host-local",
            dataDir: nodeRun.ipam,
            ranges: [[{ subnet: network.podCidr }]],
            routes: [{ dst: "0.0.0.0/0" }],
          },
        },
        { type: "portmap", capabilities: { portMappings: true } },
      ],
    },
    undefined,
    2,
  );
}

/** The kubelet's configuration. */
export function kubeletConfig(layout: Layout): object {
  const server = certificatePaths(layout.pki, "kubelet-server");
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    address: "0.0.0.0",
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: certificatePaths(layout.pki, "ca").certificate },
    },
    authorization: { mode: "Webhook" },
    tlsCertFile: server.certificate,
    tlsPrivateKeyFile: server.key,
    containerRuntimeEndpoint: `unix://${nodeRun.containerdSocket}`,
    cgroupDriver: "cgroupfs",
    cgroupRoot: `/${nodeName}`,
    failCgroupV1: false,
    failSwapOn: false,
    // The supervisor shows the kubelet the values it wants, instead of letting it change the host's kernel.
    protectKernelDefaults: true,
    oomScoreAdj: 0,
    clusterDNS: [network.dnsAddress],
    clusterDomain: network.clusterDomain,
    resolvConf: nodeRun.resolvConf,
    podLogsDir: join(layout.logs, "pods"),
    containerLogMaxSize: "5Mi",
    containerLogMaxFiles: 2,
    maxPods: 60,
    // The default bounds are shares of the disk, which a large and half-full one would trip at once.
    evictionHard: {
      "memory.available": "100Mi",
      "nodefs.available": "512Mi",
      "imagefs.available": "512Mi",
      "nodefs.inodesFree": "1%",
    },
    // There is no registry to fetch an image from again: 100 switches their collection off.
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
  };
}

/** kube-proxy's configuration. It leaves the kernel's conntrack table alone, whose size is the host's. */
export function kubeProxyConfig(layout: Layout): object {
  return {
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    clientConnection: { kubeconfig: kubeconfigPath(layout, "kube-proxy") },
    mode: "iptables",
    hostnameOverride: nodeName,
    clusterCIDR: network.podCidr,
    conntrack: { maxPerCore: 0, min: 0 },
    oomScoreAdj: 0,
  };
}

async function base64(path: string): Promise<string> {
  return (await readFile(path)).toString("base64");
}

function encryptionConfig(secret: string): object {
  return {
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "EncryptionConfiguration",
    resources: [
      {
        resources: ["secrets"],
        providers: [{ secretbox: { keys: [{ name: "sandbox", secret }] } }, { identity: {} }],
      },
    ],
  };
}
