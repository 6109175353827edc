import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type KubernetesObject,
  type V1ClusterRole,
  type V1ClusterRoleBinding,
  type V1ConfigMap,
  type V1Deployment,
  type V1Service,
  type V1ServiceAccount,
  loadAllYaml,
} from "@kubernetes/client-node";
import { network } from "../layout.ts";

/**
 * What a cluster has before anything is deployed on it: rights for its own components, a default StorageClass, DNS.
 * `coreDnsImage` is a reference by digest.
 */
export async function addons(coreDnsImage: string): Promise<readonly KubernetesObject[]> {
  return [kubeletAccess, ...(await nodeAgent()), ...coreDns(coreDnsImage)];
}

/**
 * Exec, logs and port-forward go from the API server to the kubelet, by a certificate whose user no built-in binding
 * gives a right.
 */
const kubeletAccess: V1ClusterRoleBinding = {
  apiVersion: "rbac.authorization.k8s.io/v1",
  kind: "ClusterRoleBinding",
  metadata: { name: "sandbox-kubelet-api" },
  roleRef: {
    apiGroup: "rbac.authorization.k8s.io",
    kind: "ClusterRole",
    name: "system:kubelet-api-admin",
  },
  subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "kube-apiserver-kubelet-client" }],
};

/** The node agent's rights and its StorageClass. */
async function nodeAgent(): Promise<readonly KubernetesObject[]> {
  const path = join(import.meta.dirname, "node-agent/manifests.yaml");
  return loadAllYaml(await readFile(path, "utf8"));
}

/** The pods of the cluster's DNS. */
export const dnsSelector = "k8s-app=kube-dns";

/** It answers for the cluster's own names; the sandbox's pods have no business with others. */
const corefile = `.:53 {
    errors
    health :8080 {
        lameduck 1s
    }
    ready :8181
    kubernetes ${network.clusterDomain} in-addr.arpa {
        pods insecure
        ttl 5
    }
    cache 5
    reload
}
`;

function coreDns(image: string): readonly KubernetesObject[] {
  const name = "coredns";
  const namespace = "kube-system";
  const labels = { "k8s-app": "kube-dns" };
  const serviceAccount: V1ServiceAccount = {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name, namespace },
  };
  const role: V1ClusterRole = {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRole",
    metadata: { name: "sandbox-coredns" },
    rules: [
      { apiGroups: [""], resources: ["services", "pods", "namespaces"], verbs: ["list", "watch"] },
      { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"] },
    ],
  };
  const binding: V1ClusterRoleBinding = {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name: "sandbox-coredns" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "sandbox-coredns" },
    subjects: [{ kind: "ServiceAccount", name, namespace }],
  };
  const config: V1ConfigMap = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name, namespace },
    data: { Corefile: corefile },
  };
  const deployment: V1Deployment = {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace, labels },
    spec: {
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          serviceAccountName: name,
          dnsPolicy: "Default",
          priorityClassName: "system-cluster-critical",
          securityContext: {
            runAsNonRoot: true,
            runAsUser: 1000,
            runAsGroup: 1000,
            seccompProfile: { type: "RuntimeDefault" },
            // Port 53 without a capability: policies that let pods ask for names say 53, as on any cluster.
            sysctls: [{ name: "net.ipv4.ip_unprivileged_port_start", value: "53" }],
          },
          containers: [
            {
              name,
              image,
              args: ["-conf", "/etc/coredns/Corefile"],
              ports: [
                { name: "dns", containerPort: 53, protocol: "UDP" },
                { name: "dns-tcp", containerPort: 53, protocol: "TCP" },
              ],
              livenessProbe: { httpGet: { path: "/health", port: 8080 }, periodSeconds: 10 },
              readinessProbe: { httpGet: { path: "/ready", port: 8181 }, periodSeconds: 2 },
              resources: { requests: { cpu: "20m", memory: "32Mi" }, limits: { memory: "128Mi" } },
              securityContext: {
                allowPrivilegeEscalation: false,
                readOnlyRootFilesystem: true,
                capabilities: { drop: ["ALL"] },
              },
              volumeMounts: [{ name: "config", mountPath: "/etc/coredns", readOnly: true }],
            },
          ],
          volumes: [{ name: "config", configMap: { name } }],
        },
      },
    },
  };
  const service: V1Service = {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "kube-dns", namespace, labels },
    spec: {
      clusterIP: network.dnsAddress,
      selector: labels,
      ports: [
        { name: "dns", port: 53, targetPort: "dns", protocol: "UDP" },
        { name: "dns-tcp", port: 53, targetPort: "dns-tcp", protocol: "TCP" },
      ],
    },
  };
  return [serviceAccount, role, binding, config, deployment, service];
}
