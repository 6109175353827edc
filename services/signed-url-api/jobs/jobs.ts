import { setTimeout as sleep } from "node:timers/promises";

import type { User } from "../auth/tokens.ts";
import { ExpiringCache } from "../expiring-cache.ts";
import { jobNotFound, resultNotReady } from "../problems.ts";
import { MAX_MANIFEST_BYTES, mayRead, readManifest, type Manifest } from "./ownership.ts";
import type { Storage } from "./storage.ts";

/** How long a job is cached, in milliseconds: a share taken back ends within this. */
export const jobCacheMs = 30_000;

/** Jobs cached at once; each is a few hundred bytes. */
const MAX_JOBS = 10_000;

/** A refusal is sent this many milliseconds after its request at the earliest, whatever storage took to answer. */
const minRefusalMs = 20;

/** A job's result, there to be downloaded. */
export interface Result {
  /** Its object's key. */
  key: string;
  /** In bytes. */
  size: number;
  etag: string | undefined;
  contentType: string | undefined;
}

/** Finds results for those who may read them. */
export interface Jobs {
  /**
   * @param jobId - checked against the pattern by the caller
   * @throws Problem: 404 for an absent job and for somebody else's, 409 for a job without result
   * @throws StorageError when storage doesn't answer
   */
  find: (jobId: string, user: User) => Promise<Result>;
  /** Empties the cache. */
  invalidate: () => void;
}

/** Further options of {@link createJobs}. */
export interface JobsOptions {
  /** In milliseconds. @default Date.now */
  now?: () => number;
  /** @default 20 milliseconds */
  refusalMs?: number;
}

/**
 * Jobs as storage holds them, cached for half a minute.
 *
 * Only a grant comes from the cache. A refusal is always read anew: a new owner is let in at once, and a stranger
 * can't learn from a quick answer that somebody else has just used the job.
 */
export function createJobs(storage: Storage, options: JobsOptions = {}): Jobs {
  const { now = Date.now, refusalMs = minRefusalMs } = options;
  const manifests = new ExpiringCache<Manifest>(MAX_JOBS, now);
  const results = new ExpiringCache<Result>(MAX_JOBS, now);

  const loadManifest = async (jobId: string): Promise<Manifest | undefined> => {
    const asked = now();
    const stored = await storage.read(`jobs/${jobId}/job.json`, { maxBytes: MAX_MANIFEST_BYTES });
    const manifest = stored?.body && readManifest(jobId, stored.body);
    if (manifest !== undefined) manifests.set(jobId, manifest, asked + jobCacheMs);
    return manifest;
  };

  const loadResult = async (jobId: string): Promise<Result> => {
    const asked = now();
    const key = `jobs/${jobId}/result.tif`;
    // Reading one byte is enough to learn whether it exists, its size and etag.
    const stored = await storage.read(key, { range: "0-0", maxBytes: 4096 });
    if (stored === undefined) throw resultNotReady();
    const { size, etag, contentType } = stored;
    const result = { key, size, etag, contentType };
    results.set(jobId, result, asked + jobCacheMs);
    return result;
  };

  return {
    async find(jobId, user) {
      const cached = manifests.get(jobId);
      if (cached === undefined || !mayRead(cached, user)) {
        const began = performance.now();
        const manifest = await loadManifest(jobId);
        if (manifest === undefined || !mayRead(manifest, user)) {
          await sleep(Math.max(0, began + refusalMs - performance.now()));
          throw jobNotFound();
        }
      }
      return results.get(jobId) ?? loadResult(jobId);
    },
    invalidate: () => {
      manifests.clear();
      results.clear();
    },
  };
}
