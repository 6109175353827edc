import { z } from "zod";

import { crossCheck, type CrossCheck, expected, isAddress, publicOrigin } from "./values.ts";

const text = (empty: string) => z.string().min(1, empty).meta({ title: "name" });

/** How a Service is reached from outside the cluster. */
export const exposure = z.discriminatedUnion(
  "type",
  [
    z.strictObject({ type: z.literal("ClusterIP") }),
    z.strictObject({ type: z.literal("LoadBalancer") }),
    z.strictObject({
      type: z.literal("NodePort"),
      nodePort: z
        .int({ error: "must be a port number from 30000 to 32767" })
        .min(30_000, "must be at least 30000, the lowest port Kubernetes gives to NodePorts")
        .max(32_767, "must be at most 32767, the highest port Kubernetes gives to NodePorts")
        .meta({ title: "port" }),
    }),
    z.strictObject({
      type: z.literal("Ingress"),
      className: text("is empty: name an IngressClass or remove the key").optional(),
      /** For the controller: it must speak TLS to the pods and leave Host and path as they are. */
      annotations: z.record(z.string(), z.string()).meta({ title: "map of texts" }).default({}),
    }),
    // TLS passes through, so nothing between client and pod can read or change what is sent.
    z.strictObject({
      type: z.literal("TLSRoute"),
      gateway: z.strictObject(
        {
          name: text("is empty: name the Gateway"),
          namespace: text("is empty: name the Gateway's namespace or remove the key").optional(),
          sectionName: text("is empty: name the listener or remove the key").optional(),
        },
        expected("a map", "give at least {name: <the Gateway>}"),
      ),
    }),
  ],
  expected("a way of exposure", "choose ClusterIP, LoadBalancer, NodePort, Ingress or TLSRoute"),
);
export type Exposure = z.output<typeof exposure>;

/** Ingress and TLSRoute route by host name, so the public address of what they lead to must have one. */
export function routableHost(key: "api" | "downloads"): CrossCheck {
  return crossCheck(
    z.object({ [key]: z.object({ publicUrl: publicOrigin, expose: exposure }) }),
    [key, "publicUrl"],
    ({ [key]: server }) => {
      if (server === undefined || !isAddress(server.publicUrl)) return undefined;
      const { type } = server.expose;
      return type === "Ingress" || type === "TLSRoute"
        ? `is an IP address, and ${type} routes by host name: use a host name`
        : undefined;
    },
  );
}
