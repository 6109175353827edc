import * as z from "zod";

import {
  httpsUrl,
  port,
  readEnvironment,
  text,
  wholeNumber,
  type Environment,
  type Rule,
} from "../common/settings.ts";
import { supportedAlgorithms } from "./auth/tokens.ts";

/** Bounds of a download URL's life, in seconds: 15 and 60 minutes. */
export const urlExpiry = { min: 900, max: 3600 } as const;

const httpsOrigin = httpsUrl
  .refine((value) => value.replace(/\/$/, "") === new URL(value).origin, {
    error: "must be https://host or https://host:port, nothing more, without :443",
    abort: true,
  })
  .transform((value) => new URL(value).origin);

const list = <Item extends z.ZodType<string, string>>(item: Item) =>
  z
    .string()
    .transform((value) => (value.trim() === "" ? [] : value.split(",").map((entry) => entry.trim())))
    .pipe(z.array(item));

const schema = z.object({
  /** TCP port of the HTTPS listener. @default 8443 */
  PORT: port.prefault("8443"),
  /** TCP port of the HTTPS listener for Prometheus. @default 9100 */
  METRICS_PORT: port.prefault("9100"),
  /** Folder of `tls.crt` and `tls.key`. @default /etc/geocrop/tls */
  TLS_DIR: text.default("/etc/geocrop/tls"),
  /** Folder of `access-key` and `secret-key`, the identity that signs. @default /etc/geocrop/credentials */
  CREDENTIALS_DIR: text.default("/etc/geocrop/credentials"),
  /** Storage as the API reaches it. */
  S3_ENDPOINT: httpsOrigin,
  /** Certificate authorities trusted for storage; no others are. @default /etc/geocrop/tls/ca.crt */
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
  URL_EXPIRY_SECONDS: wholeNumber(urlExpiry.min, urlExpiry.max).prefault("900"),
  /** Tokens' exact `iss`. */
  JWT_ISSUER: text,
  /** What tokens' `aud` must hold. */
  JWT_AUDIENCE: text,
  /** Comma list of accepted signature algorithms. @default ES256 */
  JWT_ALGORITHMS: z
    .string()
    .default("ES256")
    .transform((value) => value.split(",").map((name) => name.trim()))
    .refine((names) => names.every((name) => supportedAlgorithms.includes(name)), {
      error: `must be a comma list of ${supportedAlgorithms.join(", ")}`,
    }),
  /** Where the issuer publishes its keys. This or JWKS_FILE. */
  JWKS_URL: httpsUrl.optional(),
  /** A mounted file of the issuer's keys. */
  JWKS_FILE: text.optional(),
  /** Certificate authorities trusted for the issuer. @default those that Node brings */
  JWKS_CA_FILE: text.optional(),
  /**
   * Whose bearer may read every job's result, as `claim=value`: the token's claim is that value, or a list with it.
   *
   * @default no administrators
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
export type Settings = z.output<typeof schema>;

const oneSourceOfKeys: Rule = (env) =>
  (env["JWKS_URL"] === undefined) === (env["JWKS_FILE"] === undefined)
    ? "JWKS_URL, JWKS_FILE: set exactly one, to where the issuer's public keys are"
    : undefined;

/**
 * Reads the API's settings.
 *
 * @throws Error that lists every problem: variable, value, and what it must be
 */
export const readSettings = (env: Environment): Settings => readEnvironment(schema, env, [oneSourceOfKeys]);
