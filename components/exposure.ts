/** How a Service is reached from outside the cluster. */
export type Exposure =
  | { readonly type: "ClusterIP" | "LoadBalancer" }
  | { readonly type: "NodePort"; readonly nodePort: number };

/** A Service's type and its one TLS port, 443 to the pods' 8443. */
export function exposedPort(exposure: Exposure) {
  return {
    type: exposure.type,
    ports: [
      {
        name: "https",
        port: 443,
        targetPort: 8443,
        ...(exposure.type === "NodePort" ? { nodePort: exposure.nodePort } : {}),
      },
    ],
  };
}
