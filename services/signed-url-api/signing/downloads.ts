import type { User } from "../auth/tokens.ts";
import { ExpiringCache } from "../expiring-cache.ts";
import type { Result } from "../jobs/jobs.ts";
import { urlExpiry } from "../settings.ts";
import { attachment } from "./filename.ts";
import { issuanceOf, type Issuance } from "./issuance.ts";
import type { Presign } from "./presign.ts";

/** URLs asked for within this time, in seconds, are the same, so that clients and caches recognise them. */
export const windowSeconds = 300;

/** Downloads cached at once, about 2 KiB each. */
const MAX_DOWNLOADS = 2000;

/** What a user wants to download, and how. */
export interface DownloadRequest {
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
}

/** Signs URLs. */
export interface Downloads {
  /** Signs a URL, or takes it from the cache. */
  sign: (request: DownloadRequest) => Download;
  /** Empties the cache, because the signing key changed. */
  invalidate: () => void;
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
  const length = Math.max(1, Math.min(windowSeconds, urlExpiry.max - expiresIn));
  const start = seconds - (seconds % length);
  return { start, expiresIn: Math.min(expiresIn + length, urlExpiry.max), end: start + length };
}

/** Signs URLs, and caches each until its window ends or its job's result has been read anew. */
export function createDownloads(options: DownloadsOptions): Downloads {
  const { bucket, presign, now = Date.now } = options;
  const cache = new ExpiringCache<{ result: Result; download: Download }>(MAX_DOWNLOADS, now);

  const signAnew = ({ jobId, result, user, filename }: DownloadRequest, window: Window): Download => {
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
    return { url, headUrl, issuance, expiresAt, json };
  };

  return {
    sign(request) {
      const { jobId, result, user, expiresIn, filename } = request;
      // Only the last part can hold a line feed.
      const key = `${jobId}\n${expiresIn}\n${filename}\n${user.subject}`;
      const cached = cache.get(key);
      if (cached?.result === result) return cached.download;
      const window = windowOf(now(), expiresIn);
      const download = signAnew(request, window);
      cache.set(key, { result, download }, window.end * 1000);
      return download;
    },
    invalidate: () => cache.clear(),
  };
}
