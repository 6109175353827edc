import type { Json } from "./mask.ts";

/** An audit event in short: who did what to which object, from where, and with what result. */
export interface Summary {
  /** RFC 3339, UTC, as MinIO wrote it. */
  readonly time: string;
  /** S3 action, for example `GetObject`; of entries that are not requests, the event. */
  readonly name: string;
  readonly bucket: string;
  readonly object: string;
  readonly statusCode: number;
  /** Bytes received and sent. */
  readonly rx: number;
  readonly tx: number;
  readonly remotehost: string;
  readonly requestID: string;
  readonly userAgent: string;
  /** The access key that the request was signed with. */
  readonly accessKey: string;
  /** Which signed URL a download came by, and the pseudonym of the user it was issued to. */
  readonly issuance: string;
  readonly subject: string;
}

/** A client chooses some of the values, so each is cut to what an index takes. */
const MAX_VALUE_CHARACTERS = 1024;

/** Reads an event of MinIO's, or of the receiver's own. A missing value is empty, or 0. */
export function summarize(event: Json): Summary {
  const text = (...path: readonly string[]): string => {
    const value = at(event, path);
    return typeof value === "string" ? value.slice(0, MAX_VALUE_CHARACTERS) : "";
  };
  const number = (...path: readonly string[]): number => {
    const value = at(event, path);
    return typeof value === "number" ? value : 0;
  };
  return {
    time: text("time"),
    name: text("api", "name") || text("event") || text("trigger"),
    bucket: text("api", "bucket"),
    object: text("api", "object"),
    statusCode: number("api", "statusCode"),
    rx: number("api", "rx"),
    tx: number("api", "tx"),
    remotehost: text("remotehost"),
    requestID: text("requestID"),
    userAgent: text("userAgent"),
    accessKey: text("accessKey") || text("requestQuery", "X-Amz-Credential"),
    issuance: text("requestQuery", "x-geocrop-issuance"),
    subject: text("requestQuery", "x-geocrop-subject"),
  };
}

function at(value: Json, path: readonly string[]): Json | undefined {
  let current: Json | undefined = value;
  for (const name of path) {
    if (current === undefined || !isRecord(current)) return undefined;
    current = Object.hasOwn(current, name) ? current[name] : undefined;
  }
  return current;
}

function isRecord(value: Json): value is { readonly [key: string]: Json } {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
