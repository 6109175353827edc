import { z } from "zod";

import { exposure } from "./exposure.ts";
import { crossCheck, expected, httpsUrl, publicOrigin, replicas, resources, wholeNumber } from "./values.ts";

const auth = z.discriminatedUnion(
  "mode",
  [
    z.strictObject({ mode: z.literal("dev-issuer") }),
    z.strictObject({
      mode: z.literal("jwks-url"),
      issuer: z.string().min(1, "is empty: write the `iss` that your tokens carry"),
      audience: z.string().min(1, "is empty: write the `aud` that your tokens carry"),
      url: httpsUrl,
      algorithms: z
        .array(
          z.enum(["ES256", "ES384", "EdDSA", "RS256", "PS256"], {
            error: "is not an accepted signature algorithm: choose ES256, ES384, EdDSA, RS256 or PS256",
          }),
        )
        .min(1, "is empty: name at least one algorithm, for example [ES256]")
        .default(["ES256"]),
      ca: z
        .string()
        .regex(
          /^-----BEGIN CERTIFICATE-----\n/,
          "is not a PEM certificate: paste the certificate of the authority that signed the token issuer's own",
        )
        .meta({ title: "PEM certificate" })
        .optional(),
    }),
  ],
  expected("a mode", "choose dev-issuer or jwks-url (with issuer, audience, url)"),
);

const requestsPerMinute = wholeNumber("requests a minute")
  .min(100, "must be at least 100: a batch of 100 jobs counts as 100")
  .max(1_000_000, "must be at most 1000000");

/** The signed-URL API. */
export const api = z.strictObject(
  {
    replicas,
    publicUrl: publicOrigin,
    expose: exposure.default({ type: "ClusterIP" }),
    urlExpirySeconds: wholeNumber("seconds")
      .min(900, "is shorter than 900 seconds (15 minutes): choose 900 to 3600")
      .max(3600, "is longer than 3600 seconds (60 minutes): choose 900 to 3600")
      .default(900),
    auth,
    adminClaim: z
      .strictObject({
        claim: z.string().regex(/^[^=\s]+$/, "is not a valid claim name: use no blanks and no ="),
        value: z.string().regex(/^\S+$/, "is not a valid claim value: use no blanks"),
      })
      .optional(),
    rateLimits: z
      .strictObject({
        perSubject: requestsPerMinute.default(600),
        perAddress: requestsPerMinute.default(3000),
      })
      .prefault({}),
    resources: resources("100m", "256Mi"),
  },
  expected("a map", "give at least {publicUrl, auth}"),
);

/** Where data is protected, no token may be forged by who reads a Secret. */
export const noDevIssuerOnProtectedData = crossCheck(
  z.object({ protectData: z.literal(true).default(true), api: z.object({ auth }) }),
  ["api", "auth", "mode"],
  ({ api }) =>
    api.auth.mode === "dev-issuer"
      ? "keeps a token-signing key in the cluster and is for trying out only: use jwks-url, or set protectData to false on a throw-away stack"
      : undefined,
);
