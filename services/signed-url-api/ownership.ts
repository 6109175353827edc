import * as z from "zod";

import type { Storage } from "./storage.ts";

/** Far above a manifest with hundreds of shares; above it, it is none. */
const MAX_MANIFEST_BYTES = 64 * 1024;

/** `jobs/<id>/job.json`, written by the job submitter and unwritable for workers. */
const manifestSchema = z.object({
  job_id: z.string(),
  owner: z.string().min(1),
  shared_with: z.array(z.string().min(1)).optional(),
});

/**
 * Whether a user may read a job's result, by the job's manifest.
 *
 * Fails closed: without a manifest that is whole, well-formed and of this very job, nobody may.
 *
 * @param jobId - checked against the pattern by the caller
 * @param subject - the token's `sub`
 * @throws StorageError when storage doesn't answer
 */
export async function mayRead(storage: Storage, jobId: string, subject: string): Promise<boolean> {
  const stored = await storage.read(`jobs/${jobId}/job.json`, { maxBytes: MAX_MANIFEST_BYTES });
  if (stored?.body === undefined) return false;
  const manifest = manifestSchema.safeParse(parseJson(stored.body));
  if (!manifest.success || manifest.data.job_id !== jobId) return false;
  const { owner, shared_with: sharedWith = [] } = manifest.data;
  return owner === subject || sharedWith.includes(subject);
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}
