import { ExpiringCache } from "../expiring-cache.ts";
import { attachment } from "./filename.ts";
import { issuanceOf, type Issuance } from "./issuance.ts";
import type { Result } from "../jobs/jobs.ts";
import type { Presign } from "./presign.ts";
import { EXPIRY } from "../settings.ts";
import type { User } from "../auth/tokens.ts";

/** URLs asked for within such a time, in seconds, are the same, so that clients and caches can know them again. */
export const WINDOW_SECONDS = 300;

/** Answers remembered at once, about 2 KiB each. */
const MOST_ANSWERS = 2000;

/** What a user wants to download, and how. */
export interface Wish {
  jobId: string;
  result: Result;
  user: User;
  /** Seconds that the URL must live at least, 900 to 3600. */
  expiresIn: number;
  /** Safe to store a file under. */
  filename: string;
}

/** A job's result as the API hands it out. */
export interface Download {
  url: string;
  /** The same for HEAD. */
  headUrl: string;
  issuance: Issuance;
  /** RFC 3339. */
  expiresAt: string;
  /** The answer's JSON. Kept as text: it is sent again and again. */
  json: string;
  /** Its length in UTF-8. */
  bytes: number;
}

/** Hands out URLs. */
export interface Downloads {
  issue: (wish: Wish) => Download;
  /** Forgets what it remembers, because the signing key changed. */
  forget: () => void;
}

/** What {@link createDownloads} needs. */
export interface DownloadsOptions {
  bucket: string;
  /** Signs for the address that users call. */
  presign: Presign;
  /** In milliseconds. @default Date.now */
  now?: () => number;
}

/** Seconds since 1970, but for `expiresIn`, which is a length. */
interface Window {
  start: number;
  end: number;
  expiresIn: number;
}

/**
 * When a URL is signed, and for how long: as if at the beginning of the current window, with a life that reaches at
 * least as far as asked. The nearer that is to the longest life, which counts from the time of signing, the
 * shorter the window; at 3600 s it is one second.
 */
export function windowOf(now: number, expiresIn: number): Window {
  const seconds = Math.floor(now / 1000);
  const length = Math.max(1, Math.min(WINDOW_SECONDS, EXPIRY.max - expiresIn));
  const start = seconds - (seconds % length);
  return { start, expiresIn: Math.min(expiresIn + length, EXPIRY.max), end: start + length };
}

/**
 * Signs URLs, and remembers each until its window ends or its job's result has been looked at anew.
 *
 * An answer is kept from its second asking on. Most are asked for once, and storing those takes longer than
 * signing: they live just long enough to be the garbage that is dearest to collect.
 */
export function createDownloads(options: DownloadsOptions): Downloads {
  const { bucket, presign, now = Date.now } = options;
  const remembered = new ExpiringCache<{ result: Result; download?: Download }>(MOST_ANSWERS, now);

  const sign = ({ jobId, result, user, filename }: Wish, window: Window): Download => {
    const disposition = attachment(filename);
    const { start, expiresIn } = window;
    const issuance = issuanceOf(user.pseudonym, result.key, start, expiresIn, disposition);
    const signed = presign({
      path: `/${bucket}/${result.key}`,
      expiresIn,
      now: new Date(start * 1000),
      query: { "response-content-disposition": disposition, ...issuance },
    });
    const { url } = signed;
    const headUrl = signed.headUrl();
    const expiresAt = signed.expiresAt.toISOString();
    const json = JSON.stringify({
      job_id: jobId,
      url,
      head_url: headUrl,
      expires_at: expiresAt,
      size: result.size,
      etag: result.etag,
      content_type: result.contentType,
      filename,
    });
    return { url, headUrl, issuance, expiresAt, json, bytes: Buffer.byteLength(json) };
  };

  return {
    issue(wish) {
      const { jobId, result, user, expiresIn, filename } = wish;
      // Only the last part can hold a line feed.
      const key = `${jobId}\n${expiresIn}\n${filename}\n${user.subject}`;
      const known = remembered.get(key);
      const again = known?.result === result;
      if (again && known.download !== undefined) return known.download;
      const window = windowOf(now(), expiresIn);
      const download = sign(wish, window);
      remembered.set(key, again ? { result, download } : { result }, window.end * 1000);
      return download;
    },
    forget: () => remembered.clear(),
  };
}
