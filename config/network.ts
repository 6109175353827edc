import { z } from "zod";

import { namespaceName, publicOrigin } from "./values.ts";

/** Web origins whose pages may call the API and read downloads. They are compared as a whole. */
export const allowedOrigins = z
  .array(
    publicOrigin.refine((value) => !value.includes("*"), { error: "has a wildcard: name each origin" }),
    { error: "must be a list of web origins, for example [https://map.example.com]" },
  )
  .default([]);

/** Whose pods may read metrics. */
export const monitoring = z.strictObject({ namespace: namespaceName }).optional();

const port = "must be a port number from 1024 to 65535";

/**
 * The port on 127.0.0.1 through which Pulumi reaches MinIO while it runs. The default lies below 32768, from where on
 * Linux gives ports to outgoing connections: one of those may have been in use.
 */
export const tunnelPort = z
  .int({ error: port })
  .min(1024, port)
  .max(65_535, port)
  .meta({ title: "port" })
  .default(19_000);
