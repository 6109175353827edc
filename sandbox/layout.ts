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
  /** The stack file both engines read. */
  readonly stackFile: string;
  /** Which engine the stack was deployed with. */
  readonly engineFile: string;
  /** What the smoke test makes to try the stack with. */
  readonly scratch: string;
  /** State and passphrase of the Pulumi CLI. */
  readonly pulumi: string;
  readonly embeddedState: string;
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
    engineFile: join(data, "engine"),
    scratch: join(data, "scratch"),
    pulumi: join(data, "pulumi"),
    embeddedState: join(data, "embedded-state.json"),
    caFile: join(data, "ca.crt"),
    runtime,
    lock: join(runtime, "lock"),
    nodeRecord: join(runtime, "node.json"),
  };
}
