import { setTimeout as delay } from "node:timers/promises";

import { ExpiringCache } from "../expiring-cache.ts";
import { MAX_MANIFEST_BYTES, mayRead, readManifest, type Manifest } from "./ownership.ts";
import { jobNotFound, resultNotReady } from "../problems.ts";
import type { Storage } from "./storage.ts";
import type { User } from "../auth/tokens.ts";

/** How long what storage said of a job is believed, in milliseconds: a share taken back ends within this. */
export const JOB_MEMORY_MS = 30_000;

/** Jobs remembered at once; each is a few hundred bytes. */
const MOST_JOBS = 10_000;

/** No refusal is told sooner than this many milliseconds after its question, whatever storage took to answer. */
const REFUSAL_MS = 20;

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
  /** The same from memory alone. @returns undefined when that doesn't say yes */
  known: (jobId: string, user: User) => Result | undefined;
  /** Forgets what it remembers. */
  forget: () => void;
}

/** What {@link createJobs} may be given besides. */
export interface JobsOptions {
  /** In milliseconds. @default Date.now */
  now?: () => number;
  /** @default 20 milliseconds */
  refusalMs?: number;
}

/**
 * Jobs as storage holds them, remembered for half a minute.
 *
 * Only a yes comes from memory. A no is always read anew: a new owner is let in at once, and a stranger can't
 * learn from a quick answer that somebody else has just used the job.
 */
export function createJobs(storage: Storage, options: JobsOptions = {}): Jobs {
  const { now = Date.now, refusalMs = REFUSAL_MS } = options;
  const manifests = new ExpiringCache<Manifest>(MOST_JOBS, now);
  const results = new ExpiringCache<Result>(MOST_JOBS, now);

  const loadManifest = async (jobId: string): Promise<Manifest | undefined> => {
    const asked = now();
    const stored = await storage.read(`jobs/${jobId}/job.json`, { maxBytes: MAX_MANIFEST_BYTES });
    const manifest = stored?.body && readManifest(jobId, stored.body);
    if (manifest !== undefined) manifests.set(jobId, manifest, asked + JOB_MEMORY_MS);
    return manifest;
  };

  const loadResult = async (jobId: string): Promise<Result> => {
    const asked = now();
    const key = `jobs/${jobId}/result.tif`;
    // One byte tells that it is there, its size and etag.
    const stored = await storage.read(key, { range: "0-0", maxBytes: 4096 });
    if (stored === undefined) throw resultNotReady();
    const { size, etag, contentType } = stored;
    const result = { key, size, etag, contentType };
    results.set(jobId, result, asked + JOB_MEMORY_MS);
    return result;
  };

  return {
    known: (jobId, user) => {
      const manifest = manifests.get(jobId);
      return manifest !== undefined && mayRead(manifest, user) ? results.get(jobId) : undefined;
    },
    async find(jobId, user) {
      const known = manifests.get(jobId);
      if (known === undefined || !mayRead(known, user)) {
        const began = performance.now();
        const manifest = await loadManifest(jobId);
        if (manifest === undefined || !mayRead(manifest, user)) {
          await delay(Math.max(0, began + refusalMs - performance.now()));
          throw jobNotFound();
        }
      }
      return results.get(jobId) ?? loadResult(jobId);
    },
    forget: () => {
      manifests.clear();
      results.clear();
    },
  };
}
