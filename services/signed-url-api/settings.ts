import * as z from "zod";

import { ALGORITHMS } from "./tokens.ts";

/** Bounds of a download URL's life, in seconds: 15 and 60 minutes. */
export const EXPIRY = { min: 900, max: 3600 } as const;

const httpsUrl = z.url({ protocol: /^https$/, error: "must be an https URL", abort: true });

const httpsOrigin = httpsUrl
  .refine((value) => value.replace(/\/$/, "") === new URL(value).origin, {
    error: "must be https://host or https://host:port, nothing more, without :443",
    abort: true,
  })
  .transform((value) => new URL(value).origin);

const wholeNumber = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/, { error: "must be a whole number", abort: true })
    .transform(Number)
    .refine((value) => value >= min && value <= max, { error: `must be from ${min} to ${max}` });

const text = z.string({ error: "must be set" }).min(1, { error: "must not be empty" });

const environment = z.object({
  PORT: wholeNumber(0, 65_535).prefault("8443"),
  TLS_DIR: text.default("/etc/geocrop/tls"),
  CREDENTIALS_DIR: text.default("/etc/geocrop/credentials"),
  S3_ENDPOINT: httpsOrigin,
  S3_CA_FILE: text.default("/etc/geocrop/tls/ca.crt"),
  S3_REGION: text.default("us-east-1"),
  RESULTS_BUCKET: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, { error: "must be a bucket name" })
    .default("geocrop-results"),
  DOWNLOAD_URL: httpsOrigin,
  URL_EXPIRY_SECONDS: wholeNumber(EXPIRY.min, EXPIRY.max).prefault("900"),
  JWT_ISSUER: text,
  JWT_AUDIENCE: text,
  JWT_ALGORITHMS: z
    .string()
    .default("ES256")
    .transform((value) => value.split(",").map((name) => name.trim()))
    .refine((names) => names.every((name) => ALGORITHMS.includes(name)), {
      error: `must be a comma list of ${ALGORITHMS.join(", ")}`,
    }),
  JWKS_URL: httpsUrl.optional(),
  JWKS_FILE: text.optional(),
});

/** The API's settings; every variable is described in the README's configuration table. */
export type Settings = z.output<typeof environment>;

/**
 * Reads the settings from environment variables. None of them is a secret.
 *
 * @throws Error that lists every fault: variable, value, and what it must be
 */
export function readSettings(env: NodeJS.ProcessEnv): Settings {
  const result = environment.safeParse(env);
  const faults = (result.error?.issues ?? []).map(({ path, message }) => {
    const name = String(path[0]);
    const value = env[name];
    // An address may hold a password.
    const shown = value === undefined ? "is not set" : `is "${value.replace(/\/\/[^/]*@/, "//***@")}"`;
    return `${name} ${shown}: ${message}`;
  });
  // Not a rule of the schema: that would be told only once everything else is right.
  if ((env["JWKS_URL"] === undefined) === (env["JWKS_FILE"] === undefined))
    faults.push("JWKS_URL, JWKS_FILE: set exactly one, to where the issuer's public keys are");
  if (result.success && faults.length === 0) return result.data;
  throw new Error(["the environment is not usable:", ...faults].join("\n  "));
}
