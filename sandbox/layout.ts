import { join, resolve } from "node:path";

import { sandboxFiles } from "../tools/sandbox-files.ts";

/** Addresses of the sandbox. They live in the node's own network namespace; the host sees only the veth pair. */
export const network = {
  /** The host's end of the veth pair. */
  hostInterface: "geocrop-sbx",
  hostAddress: "10.213.77.1",
  /** The node's address: the API server, NodePorts and everything else are reached here from the host. */
  nodeAddress: "10.213.77.2",
  prefixLength: 30,
  bridge: "cni0",
  podCidr: "10.244.0.0/24",
  serviceCidr: "10.96.0.0/16",
  apiServerServiceAddress: "10.96.0.1",
  dnsAddress: "10.96.0.10",
  clusterDomain: "cluster.local",
  apiServerPort: 6443,
  apiNodePort: 30443,
  downloadNodePort: 30444,
} as const;

/** The one node's name, and the name of its cgroup below each hierarchy's root. */
export const nodeName = "geocrop-sandbox";

/** Where things are on this machine. */
export interface Layout {
  /** The project's root. */
  readonly project: string;
  /** Builds and images' bases: costly to make again, kept by `down --purge`. */
  readonly cache: string;
  /** Binaries of the Go builds, one folder a build, named by its content. */
  readonly binaries: string;
  /** What survives `down`: the cluster's state, the pods' volumes, keys, logs. */
  readonly data: string;
  readonly logs: string;
  readonly pki: string;
  /** Configuration files of the node's components, written anew at each start. */
  readonly config: string;
  readonly etcd: string;
  readonly containerd: string;
  readonly kubelet: string;
  readonly volumes: string;
  /** The administrator's kubeconfig, mode 0600. */
  readonly kubeconfig: string;
  /** The stack file that the engine reads. */
  readonly stackFile: string;
  /** What the smoke test makes to try the stack with. */
  readonly scratch: string;
  /** The dev stack's folder, in which Pulumi works: stack file, state, passphrase. */
  readonly pulumi: string;
  /** PULUMI_HOME: the CLI and its plugins. */
  readonly pulumiHome: string;
  /** Certificate of the authority that signed the dev stack's servers. */
  readonly caFile: string;
  /** What says that the sandbox runs; gone after a reboot. */
  readonly runtime: string;
  readonly lock: string;
  readonly nodeRecord: string;
}

/** Names every place from the project's root and the environment. */
export function layoutOf(environment: NodeJS.ProcessEnv = process.env): Layout {
  const project = resolve(import.meta.dirname, "..");
  const cache = resolve(environment["GEOCROP_SANDBOX_CACHE"] || "/var/cache/geocrop-sandbox");
  const { data, kubeconfig, stackFile } = sandboxFiles(environment);
  const runtime = "/run/geocrop-sandbox";
  return {
    project,
    cache,
    binaries: join(cache, "bin"),
    data,
    logs: join(data, "logs"),
    pki: join(data, "pki"),
    config: join(data, "config"),
    etcd: join(data, "etcd"),
    containerd: join(data, "containerd"),
    kubelet: join(data, "kubelet"),
    volumes: join(data, "volumes"),
    kubeconfig,
    stackFile,
    scratch: join(data, "scratch"),
    pulumi: join(data, "pulumi"),
    pulumiHome: join(cache, "pulumi"),
    caFile: join(data, "ca.crt"),
    runtime,
    lock: join(runtime, "lock"),
    nodeRecord: join(runtime, "node.json"),
  };
}
