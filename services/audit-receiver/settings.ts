import { join } from "node:path";
import type { ForwardFormat } from "./forward.ts";
import type { Retention } from "./retention.ts";

/** What the process is told by its environment. Secrets come as files, never as values. */
export interface Settings {
  /** TCP port of the HTTPS listener. @default 8443 */
  readonly port: number;
  /** Directory with `tls.crt` and `tls.key`. @default /etc/geocrop/tls */
  readonly tlsDir: string;
  /** File holding the bearer token that MinIO sends. @default /etc/geocrop/audit-token/token */
  readonly tokenFile: string;
  /** Directory of the journal, on a volume that outlives the pod. @default /var/lib/audit */
  readonly dataDir: string;
  /** Bytes after which a new file is begun: a tenth of the trail, at most 64 MiB. */
  readonly segmentBytes: number;
  /** `RETENTION_DAYS` and `RETENTION_BYTES`, both or none. @default everything is kept */
  readonly retention: Retention | undefined;
  /** Where entries are sent on to. @default nowhere */
  readonly forward: Forward | undefined;
}

/** An index for searching, which can be built anew from the trail. */
export interface Forward {
  /** `FORWARD_URL`, https, with the query that the index wants. */
  readonly url: URL;
  /** `FORWARD_FORMAT`. @default ndjson */
  readonly format: ForwardFormat;
  /** `FORWARD_AUTHORIZATION_FILE`: holds the Authorization header's value. @default no such header */
  readonly authorizationFile: string | undefined;
}

const SEGMENT_LIMIT = 64 * 1024 * 1024;

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the settings.
 *
 * @throws Error naming the variable, its value and what is expected.
 */
export function readSettings(env: Environment): Settings {
  const text = env["PORT"] ?? "8443";
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) {
    throw new Error(`PORT is "${text}": give a TCP port, 0 to 65535`);
  }
  const mounts = "/etc/geocrop";
  const retention = readRetention(env);
  return {
    port,
    tlsDir: env["TLS_DIR"] ?? join(mounts, "tls"),
    tokenFile: env["TOKEN_FILE"] ?? join(mounts, "audit-token", "token"),
    dataDir: env["DATA_DIR"] ?? "/var/lib/audit",
    segmentBytes: Math.min(SEGMENT_LIMIT, Math.ceil((retention?.bytes ?? Infinity) / 10)),
    retention,
    forward: readForward(env),
  };
}

function readRetention(env: Environment): Retention | undefined {
  if (env["RETENTION_DAYS"] === undefined && env["RETENTION_BYTES"] === undefined) return undefined;
  return { days: readCount(env, "RETENTION_DAYS"), bytes: readCount(env, "RETENTION_BYTES") };
}

function readCount(env: Environment, name: string): number {
  const text = env[name] ?? "";
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new Error(`${name} is "${text}": give a whole number from 1`);
  return Number(text);
}

function readForward(env: Environment): Forward | undefined {
  const address = env["FORWARD_URL"];
  if (address === undefined) return undefined;
  const url = URL.parse(address);
  if (url?.protocol !== "https:" || url.username !== "" || url.password !== "") {
    throw new Error("FORWARD_URL is no https address, or holds a password: give https://host[:port]/path");
  }
  const format = env["FORWARD_FORMAT"] ?? "ndjson";
  if (format !== "ndjson" && format !== "loki") {
    throw new Error(`FORWARD_FORMAT is "${format}": give ndjson or loki`);
  }
  return { url, format, authorizationFile: env["FORWARD_AUTHORIZATION_FILE"] };
}
