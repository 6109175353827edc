import * as kubernetes from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

import type { Exposure } from "../../config/exposure.ts";
import { tlsSecretName } from "../../config/names.ts";

/** A Service's type and its one TLS port, 443 to the pods' own. */
export function exposedPort(exposure: Exposure, targetPort: number) {
  const routed = exposure.type === "Ingress" || exposure.type === "TLSRoute";
  return {
    type: routed ? "ClusterIP" : exposure.type,
    // The pods see clients' own addresses; load balancers ask which nodes have a pod, NodePorts cannot.
    ...(exposure.type === "LoadBalancer" ? { externalTrafficPolicy: "Local" } : {}),
    ports: [
      {
        name: "https",
        port: 443,
        targetPort,
        ...(exposure.type === "NodePort" ? { nodePort: exposure.nodePort } : {}),
      },
    ],
  };
}

/** Declares what leads from a public host to a Service, where the Service's type is not enough. */
export function routeTo(
  name: string,
  service: string,
  namespace: string,
  publicUrl: string,
  exposure: Exposure,
  opts: pulumi.CustomResourceOptions,
): void {
  const host = new URL(publicUrl).hostname;
  const metadata = { name: service, namespace };
  if (exposure.type === "Ingress") {
    const backend = { service: { name: service, port: { name: "https" } } };
    new kubernetes.networking.v1.Ingress(
      `${name}-ingress`,
      {
        // Not awaited: a controller writes an address when it has one, or never.
        metadata: { ...metadata, annotations: { "pulumi.com/skipAwait": "true", ...exposure.annotations } },
        spec: {
          ...(exposure.className === undefined ? {} : { ingressClassName: exposure.className }),
          tls: [{ hosts: [host], secretName: tlsSecretName(service) }],
          rules: [{ host, http: { paths: [{ path: "/", pathType: "Prefix", backend }] } }],
        },
      },
      opts,
    );
  } else if (exposure.type === "TLSRoute") {
    new kubernetes.apiextensions.CustomResource(
      `${name}-route`,
      {
        apiVersion: "gateway.networking.k8s.io/v1",
        kind: "TLSRoute",
        metadata,
        spec: {
          parentRefs: [exposure.gateway],
          hostnames: [host],
          rules: [{ backendRefs: [{ name: service, port: 443 }] }],
        },
      },
      opts,
    );
  }
}
