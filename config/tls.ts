import { z } from "zod";

import { expected } from "./values.ts";

/** Who issues the servers' certificates. */
export const tls = z
  .discriminatedUnion(
    "issuer",
    [
      z.strictObject({ issuer: z.literal("self-signed-ca") }),
      z.strictObject({
        issuer: z.literal("cert-manager"),
        issuerRef: z.strictObject(
          {
            name: z.string().min(1, "is empty: name the cert-manager issuer").meta({ title: "name" }),
            kind: z
              .enum(["Issuer", "ClusterIssuer"], { error: "must be Issuer or ClusterIssuer" })
              .default("ClusterIssuer"),
          },
          expected("a map", "give at least {name: <the issuer>}"),
        ),
      }),
      z.strictObject({ issuer: z.literal("existing-secret") }),
    ],
    expected("an issuer", "choose self-signed-ca, cert-manager (with issuerRef) or existing-secret"),
  )
  .default({ issuer: "self-signed-ca" });
