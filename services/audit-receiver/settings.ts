import { z } from "zod";

import {
  type Environment,
  httpsUrl,
  port,
  readEnvironment,
  type Rule,
  text,
  wholeNumber,
} from "../common/settings.ts";
import type { ForwardFormat } from "./forward.ts";
import type { Retention } from "./retention.ts";

/** The receiver's settings. */
export interface Settings {
  /** TCP port of the HTTPS listener. @default 8443 */
  readonly port: number;
  /** Directory with `tls.crt` and `tls.key`. @default /etc/geocrop/tls */
  readonly tlsDir: string;
  /** File holding the bearer token that MinIO sends. @default /etc/geocrop/audit-token/token */
  readonly tokenFile: string;
  /** Directory of the journal, on a volume that outlives the pod. @default /var/lib/audit */
  readonly dataDir: string;
  /** Bytes after which a new file is begun: a tenth of the audit log, at most 64 MiB. */
  readonly segmentBytes: number;
  /** `RETENTION_DAYS` and `RETENTION_BYTES`, both or none. @default everything is kept */
  readonly retention: Retention | undefined;
  /** Where entries are forwarded to. @default nowhere */
  readonly forward: Forward | undefined;
}

/** An index for searching, which can be rebuilt from the audit log. */
export interface Forward {
  /** `FORWARD_URL`, https, with the query that the index wants. */
  readonly url: URL;
  /** `FORWARD_FORMAT`. @default ndjson */
  readonly format: ForwardFormat;
  /** `FORWARD_AUTHORIZATION_FILE`: holds the Authorization header's value. @default no such header */
  readonly authorizationFile: string | undefined;
}

const MAX_SEGMENT_BYTES = 64 * 1024 * 1024;

const count = wholeNumber(1, 999_999_999_999_999);

const schema = z.object({
  PORT: port.prefault("8443"),
  TLS_DIR: text.default("/etc/geocrop/tls"),
  TOKEN_FILE: text.default("/etc/geocrop/audit-token/token"),
  DATA_DIR: text.default("/var/lib/audit"),
  RETENTION_DAYS: count.optional(),
  RETENTION_BYTES: count.optional(),
  FORWARD_URL: httpsUrl
    .transform((value) => new URL(value))
    .refine(({ username, password }) => username === "" && password === "", {
      error: "must hold no user or password",
    })
    .optional(),
  FORWARD_FORMAT: z.enum(["ndjson", "loki"], { error: "must be ndjson or loki" }).default("ndjson"),
  FORWARD_AUTHORIZATION_FILE: text.optional(),
});

const wholeRetention: Rule = (env) =>
  (env["RETENTION_DAYS"] === undefined) === (env["RETENTION_BYTES"] === undefined)
    ? undefined
    : "RETENTION_DAYS, RETENTION_BYTES: set both or none";

/**
 * Reads the receiver's settings.
 *
 * @throws Error that lists every problem: variable, value, and what it must be
 */
export function readSettings(env: Environment): Settings {
  const read = readEnvironment(schema, env, [wholeRetention]);
  const { RETENTION_DAYS: days, RETENTION_BYTES: bytes, FORWARD_URL: url } = read;
  return {
    port: read.PORT,
    tlsDir: read.TLS_DIR,
    tokenFile: read.TOKEN_FILE,
    dataDir: read.DATA_DIR,
    segmentBytes: Math.min(MAX_SEGMENT_BYTES, Math.ceil((bytes ?? Infinity) / 10)),
    retention: days === undefined || bytes === undefined ? undefined : { days, bytes },
    forward: url && {
      url,
      format: read.FORWARD_FORMAT,
      authorizationFile: read.FORWARD_AUTHORIZATION_FILE,
    },
  };
}
