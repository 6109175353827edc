import { z } from "zod";

import { exposure } from "./exposure.ts";
import { expected, publicOrigin, replicas, resources, wholeNumber } from "./values.ts";

/** What one client address may take from one pod. Twice the requests may come at once; beyond it the answer is 429. */
export interface DownloadLimits {
  /** Downloads at once. */
  readonly connections: number;
  /** Requests a second, on average. */
  readonly requestsPerSecond: number;
}
export const defaultDownloadLimits: DownloadLimits = { connections: 256, requestsPerSecond: 500 };

/** The download gateway. */
export const downloads = z.strictObject(
  {
    replicas,
    publicUrl: publicOrigin,
    expose: exposure.default({ type: "ClusterIP" }),
    limits: z
      .strictObject({
        connections: wholeNumber("downloads at once")
          .min(1, "must be at least 1")
          .default(defaultDownloadLimits.connections),
        requestsPerSecond: wholeNumber("requests a second")
          .min(1, "must be at least 1")
          .default(defaultDownloadLimits.requestsPerSecond),
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
