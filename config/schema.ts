import { z } from "zod";

import { api, noDevIssuerOnProtectedData } from "./api.ts";
import { audit, retentionFits } from "./audit.ts";
import { buckets } from "./buckets.ts";
import { downloads } from "./downloads.ts";
import { routableHost } from "./exposure.ts";
import { images } from "./images.ts";
import { minio, quotasFit } from "./minio.ts";
import { allowedOrigins, monitoring, tunnelPort } from "./network.ts";
import { tls } from "./tls.ts";
import { namespaceName } from "./values.ts";

const crossChecks = [
  noDevIssuerOnProtectedData,
  quotasFit,
  retentionFits,
  routableHost("api"),
  routableHost("downloads"),
];

/** A stack's settings. docs/configuration.md has every key of it. */
export const settingsSchema = z
  .strictObject({
    namespace: namespaceName.default("geocrop"),
    adopt: z.boolean({ error: "must be true or false" }).default(false),
    protectData: z.boolean({ error: "must be true or false" }).default(true),
    images,
    minio,
    buckets,
    tls,
    credentials: z
      .strictObject({
        generation: z
          .int({ error: "must be a whole number" })
          .min(1, "must be at least 1; raise it by one to rotate the credentials")
          .meta({ title: "number" })
          .default(1),
      })
      .prefault({}),
    api,
    downloads,
    allowedOrigins,
    monitoring,
    audit,
    tunnelPort,
  })
  .superRefine(
    (values, context) => {
      for (const check of crossChecks) {
        const problem = check(values);
        if (problem !== undefined) context.addIssue({ code: "custom", ...problem, path: [...problem.path] });
      }
    },
    { when: () => true },
  );

/** A stack's settings, defaults applied. */
export type Settings = z.output<typeof settingsSchema>;
