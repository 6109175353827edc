import * as z from "zod";

import { ALGORITHMS } from "./auth/tokens.ts";

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

const list = <Item extends z.ZodType<string, string>>(item: Item) =>
  z
    .string()
    .transform((value) => (value.trim() === "" ? [] : value.split(",").map((entry) => entry.trim())))
    .pipe(z.array(item));

const text = z.string({ error: "must be set" }).min(1, { error: "must not be empty" });

const environment = z.object({
  /** TCP port of the HTTPS listener. @default 8443 */
  PORT: wholeNumber(0, 65_535).prefault("8443"),
  /** TCP port of the HTTPS listener for Prometheus. @default 9100 */
  METRICS_PORT: wholeNumber(0, 65_535).prefault("9100"),
  /** Folder of `tls.crt` and `tls.key`. @default /etc/geocrop/tls */
  TLS_DIR: text.default("/etc/geocrop/tls"),
  /** Folder of `access-key` and `secret-key`, the identity that signs. @default /etc/geocrop/credentials */
  CREDENTIALS_DIR: text.default("/etc/geocrop/credentials"),
  /** Storage as the API reaches it. */
  S3_ENDPOINT: httpsOrigin,
  /** Authorities that storage's certificate may be of; no others count. @default /etc/geocrop/tls/ca.crt */
  S3_CA_FILE: text.default("/etc/geocrop/tls/ca.crt"),
  /** Storage's region, part of every signature. @default us-east-1 */
  S3_REGION: text.default("us-east-1"),
  /** @default geocrop-results */
  RESULTS_BUCKET: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, { error: "must be a bucket name" })
    .default("geocrop-results"),
  /** Storage as users reach it: the host and port that URLs are signed for. */
  DOWNLOAD_URL: httpsOrigin,
  /** A URL's life in seconds unless asked for otherwise. @default 900 */
  URL_EXPIRY_SECONDS: wholeNumber(EXPIRY.min, EXPIRY.max).prefault("900"),
  /** Tokens' exact `iss`. */
  JWT_ISSUER: text,
  /** What tokens' `aud` must hold. */
  JWT_AUDIENCE: text,
  /** Comma list of accepted signature algorithms. @default ES256 */
  JWT_ALGORITHMS: z
    .string()
    .default("ES256")
    .transform((value) => value.split(",").map((name) => name.trim()))
    .refine((names) => names.every((name) => ALGORITHMS.includes(name)), {
      error: `must be a comma list of ${ALGORITHMS.join(", ")}`,
    }),
  /** Where the issuer publishes its keys. This or JWKS_FILE. */
  JWKS_URL: httpsUrl.optional(),
  /** A mounted file of the issuer's keys. */
  JWKS_FILE: text.optional(),
  /** Authorities that the issuer's certificate may be of. @default those that Node brings */
  JWKS_CA_FILE: text.optional(),
  /**
   * Whose bearer may read every job's result, as `claim=value`: the token's claim is that value, or a list with it.
   *
   * @default nobody
   */
  ADMIN_CLAIM: z
    .string()
    .regex(/^[^=\s]+=\S+$/, { error: "must be claim=value", abort: true })
    .transform((pair) => {
      const at = pair.indexOf("=");
      return { claim: pair.slice(0, at), value: pair.slice(at + 1) };
    })
    .optional(),
  /** Comma list of the web origins whose pages may call the API. @default none */
  CORS_ORIGINS: list(
    httpsOrigin.refine((origin) => !origin.includes("*"), { error: "must name each origin" }),
  ).prefault(""),
  /** Requests (in a batch: jobs) a minute for each user. @default 600 */
  RATE_PER_SUBJECT: wholeNumber(100, 1_000_000_000).prefault("600"),
  /** Requests a minute for each address, whoever asks. @default 3000 */
  RATE_PER_ADDRESS: wholeNumber(100, 1_000_000_000).prefault("3000"),
});

/** The API's settings, by the names of their environment variables. */
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
