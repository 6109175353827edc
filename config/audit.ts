import { z } from "zod";

import { bytesOf, gibibytes } from "./quantity.ts";
import { crossCheck, expected, httpsUrl, quantity, resources, storageClass, wholeNumber } from "./values.ts";

/** The share of its volume that the audit log may fill: file systems keep some for themselves. */
const maxAuditFillRatio = 0.9;

/** The share of its volume that the audit log fills when `retention.size` is not given. */
const defaultAuditFillRatio = 0.8;

/** The audit receiver, and MinIO's queue before it. */
export const audit = z
  .strictObject({
    storage: quantity.default("10Gi"),
    queueStorage: quantity.default("1Gi"),
    storageClass,
    resources: resources("50m", "256Mi"),
    retention: z
      .strictObject({
        days: wholeNumber("days")
          .min(1, "must be at least 1 day")
          .max(3650, "must be at most 3650 days")
          .default(90),
        size: quantity.optional(),
      })
      .prefault({}),
    forward: z
      .strictObject(
        {
          url: httpsUrl.refine((value) => !URL.canParse(value) || new URL(value).username === "", {
            error: "holds a user name: put the value of the Authorization header into a Secret and name that",
          }),
          format: z.enum(["ndjson", "loki"], { error: "must be ndjson or loki" }).default("ndjson"),
          authorizationSecret: z
            .string()
            .min(1, "is empty: name the Secret or remove the key")
            .meta({ title: "name" })
            .optional(),
        },
        expected("a map", "give at least {url: https://…}"),
      )
      .optional(),
  })
  .prefault({});
export type AuditSettings = z.output<typeof audit>;

/** A full volume takes no further event. */
export const retentionFits = crossCheck(
  z.object({ audit }),
  ["audit", "retention", "size"],
  ({ audit: { storage, retention } }) => {
    const available = bytesOf(storage) * maxAuditFillRatio;
    return retention.size === undefined || bytesOf(retention.size) <= available
      ? undefined
      : `leaves no room on a volume of ${storage}, and a full volume takes no event: use at most ${gibibytes(available)}, or raise audit.storage`;
  },
);

/** How much of the audit log is kept, in bytes, and for how many days; whichever comes first. */
export function auditRetention({ storage, retention }: AuditSettings) {
  const bytes =
    retention.size === undefined
      ? Math.floor(bytesOf(storage) * defaultAuditFillRatio)
      : bytesOf(retention.size);
  return { days: retention.days, bytes };
}
