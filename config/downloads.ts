import { z } from "zod";

import { exposure } from "./exposure.ts";
import { expected, publicOrigin, replicas, resources, wholeNumber } from "./values.ts";

/** The download gateway. */
export const downloads = z.strictObject(
  {
    replicas,
    publicUrl: publicOrigin,
    expose: exposure.default({ type: "ClusterIP" }),
    limits: z
      .strictObject({
        connections: wholeNumber("downloads at once").min(1, "must be at least 1").default(256),
        requestsPerSecond: wholeNumber("requests a second").min(1, "must be at least 1").default(500),
      })
      .prefault({}),
    trustedProxies: z
      .array(
        z
          .union([z.cidrv4(), z.cidrv6()], {
            error: "is not an address range: write it as 10.0.0.0/8 or fd00::/8",
          })
          .meta({ title: "address range" }),
        { error: "must be a list of address ranges, for example [10.0.0.0/8]" },
      )
      .default([]),
    resources: resources("100m", "256Mi"),
  },
  expected("a map", "give at least {publicUrl}"),
);

/** What one client address may take from one pod. */
export type DownloadLimits = z.output<typeof downloads>["limits"];
