import { join } from "node:path";
import { type Layout, network, nodeName } from "../../layout.ts";
import { kubeconfigPath, nodeRun } from "./config-files.ts";
import { certificatePaths } from "./pki.ts";

/** Something that must answer before a component is started. */
export type Need = { readonly port: number } | { readonly socket: string };

/** A process of the node, kept running by the supervisor. */
export interface Component {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly needs: readonly Need[];
}

const etcd: Need = { port: 2379 };
const apiServer: Need = { port: network.apiServerPort };
const containerd: Need = { socket: nodeRun.containerdSocket };

/** The node's processes, in the order in which they start. `kubernetes` is the folder of the built binaries. */
export function components(layout: Layout, kubernetes: string): readonly Component[] {
  const ca = certificatePaths(layout.pki, "ca");
  const kube = (name: string, args: readonly string[], needs: readonly Need[] = [apiServer]): Component => ({
    name,
    command: join(kubernetes, name),
    args,
    needs,
  });
  return [
    {
      name: "containerd",
      command: "containerd",
      args: ["--config", join(layout.config, "containerd.toml")],
      needs: [],
    },
    { name: "etcd", command: "etcd", args: etcdArguments(layout), needs: [] },
    kube("kube-apiserver", apiServerArguments(layout), [etcd]),
    kube(
      "kubelet",
      [
        `--config=${join(layout.config, "kubelet.yaml")}`,
        `--kubeconfig=${kubeconfigPath(layout, "kubelet")}`,
        `--hostname-override=${nodeName}`,
        `--node-ip=${network.nodeAddress}`,
        `--root-dir=${layout.kubelet}`,
      ],
      [apiServer, containerd],
    ),
    kube("kube-controller-manager", [
      `--kubeconfig=${kubeconfigPath(layout, "kube-controller-manager")}`,
      "--bind-address=127.0.0.1",
      "--leader-elect=false",
      "--use-service-account-credentials=true",
      `--root-ca-file=${ca.certificate}`,
      `--service-account-private-key-file=${certificatePaths(layout.pki, "service-account").key}`,
    ]),
    kube("kube-scheduler", [
      `--kubeconfig=${kubeconfigPath(layout, "kube-scheduler")}`,
      "--bind-address=127.0.0.1",
      "--leader-elect=false",
    ]),
    kube("kube-proxy", [`--config=${join(layout.config, "kube-proxy.yaml")}`]),
    {
      name: "node-agent",
      command: process.execPath,
      args: [
        join(layout.project, "sandbox/cluster/node-agent/main.ts"),
        "--kubeconfig",
        kubeconfigPath(layout, "node-agent"),
        "--bridge",
        network.bridge,
        "--volumes-dir",
        layout.volumes,
        "--node-name",
        nodeName,
      ],
      needs: [apiServer],
    },
  ];
}

/** etcd listens on the loopback of the node's own network namespace. */
function etcdArguments(layout: Layout): readonly string[] {
  const ca = certificatePaths(layout.pki, "ca");
  const server = certificatePaths(layout.pki, "etcd");
  const url = "https://127.0.0.1:2379";
  return [
    "--name=sandbox",
    `--data-dir=${layout.etcd}`,
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    "--listen-peer-urls=http://127.0.0.1:2380",
    "--client-cert-auth",
    `--trusted-ca-file=${ca.certificate}`,
    `--cert-file=${server.certificate}`,
    `--key-file=${server.key}`,
    "--auto-compaction-retention=1h",
    "--logger=zap",
    "--log-level=warn",
  ];
}

function apiServerArguments(layout: Layout): readonly string[] {
  const ca = certificatePaths(layout.pki, "ca");
  const server = certificatePaths(layout.pki, "apiserver");
  const etcdClient = certificatePaths(layout.pki, "etcd-client");
  const kubeletClient = certificatePaths(layout.pki, "apiserver-kubelet-client");
  const serviceAccount = certificatePaths(layout.pki, "service-account");
  return [
    `--advertise-address=${network.nodeAddress}`,
    `--secure-port=${String(network.apiServerPort)}`,
    `--service-cluster-ip-range=${network.serviceCidr}`,
    "--etcd-servers=https://127.0.0.1:2379",
    `--etcd-cafile=${ca.certificate}`,
    `--etcd-certfile=${etcdClient.certificate}`,
    `--etcd-keyfile=${etcdClient.key}`,
    `--tls-cert-file=${server.certificate}`,
    `--tls-private-key-file=${server.key}`,
    "--tls-min-version=VersionTLS12",
    `--client-ca-file=${ca.certificate}`,
    `--kubelet-certificate-authority=${ca.certificate}`,
    `--kubelet-client-certificate=${kubeletClient.certificate}`,
    `--kubelet-client-key=${kubeletClient.key}`,
    "--kubelet-preferred-address-types=InternalIP",
    `--service-account-issuer=https://kubernetes.default.svc.${network.clusterDomain}`,
    `--service-account-key-file=${serviceAccount.certificate}`,
    `--service-account-signing-key-file=${serviceAccount.key}`,
    "--authorization-mode=Node,RBAC",
    "--enable-admission-plugins=NodeRestriction",
    "--anonymous-auth=false",
    `--encryption-provider-config=${join(layout.config, "encryption.yaml")}`,
    "--profiling=false",
  ];
}
