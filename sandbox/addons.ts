import type {
  KubernetesObject,
  V1ClusterRole,
  V1ClusterRoleBinding,
  V1ConfigMap,
  V1Deployment,
  V1Service,
  V1ServiceAccount,
  V1StorageClass,
} from "@kubernetes/client-node";
import { network } from "./layout.ts";

/**
 * What a cluster has before anything is deployed on it: rights for its own components, a default StorageClass, DNS.
 * `coreDnsImage` is a reference by digest.
 */
export function addons(coreDnsImage: string): readonly KubernetesObject[] {
  return [...componentRights(), storageClass(), ...coreDns(coreDnsImage)];
}

/**
 * Rights that Kubernetes' built-in roles don't give to the users of our certificates: exec, logs and port-forward go
 * from the API server to the kubelet; the node agent reads policies and makes volumes.
 */
function componentRights(): readonly KubernetesObject[] {
  const watch = ["get", "list", "watch"];
  const agentRole: V1ClusterRole = {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRole",
    metadata: { name: "sandbox-node-agent" },
    rules: [
      { apiGroups: [""], resources: ["pods", "namespaces", "persistentvolumeclaims"], verbs: watch },
      { apiGroups: ["networking.k8s.io"], resources: ["networkpolicies"], verbs: watch },
      {
        apiGroups: [""],
        resources: ["persistentvolumes"],
        verbs: [...watch, "create", "delete", "update", "patch"],
      },
    ],
  };
  return [
    bindUser("sandbox-kubelet-api", "system:kubelet-api-admin", "kube-apiserver-kubelet-client"),
    agentRole,
    bindUser("sandbox-node-agent", "sandbox-node-agent", "sandbox-node-agent"),
  ];
}

function bindUser(name: string, role: string, user: string): V1ClusterRoleBinding {
  return {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role },
    subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: user }],
  };
}

/** The node agent makes a volume once a pod that uses it has been given a node. */
function storageClass(): V1StorageClass {
  return {
    apiVersion: "storage.k8s.io/v1",
    kind: "StorageClass",
    metadata: {
      name: "sandbox",
      annotations: { "storageclass.kubernetes.io/is-default-class": "true" },
    },
    provisioner: "geocrop.sandbox/local",
    volumeBindingMode: "WaitForFirstConsumer",
    reclaimPolicy: "Delete",
  };
}

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
