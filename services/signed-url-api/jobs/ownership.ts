import * as z from "zod";

import type { User } from "../auth/tokens.ts";

/** Far above a manifest with hundreds of shares; a longer one is not valid. */
export const MAX_MANIFEST_BYTES = 64 * 1024;

/** `jobs/<id>/job.json`, written by the job submitter and unwritable for workers. */
const manifestSchema = z.object({
  job_id: z.string(),
  owner: z.string().min(1),
  shared_with: z.array(z.string().min(1)).optional(),
});

/** Whose a job is. */
export type Manifest = z.output<typeof manifestSchema>;

/**
 * Reads a manifest. Fails closed: it must be whole, well-formed and of this very job.
 *
 * @param jobId - checked against the pattern by the caller
 * @returns undefined when it is not valid
 */
export function readManifest(jobId: string, bytes: Buffer): Manifest | undefined {
  const { data } = manifestSchema.safeParse(parseJson(bytes));
  return data?.job_id === jobId ? data : undefined;
}

/** Whether a user may read the job's result. */
export const mayRead = (
  { owner, shared_with: sharedWith = [] }: Manifest,
  user: Pick<User, "subject" | "admin">,
): boolean => owner === user.subject || sharedWith.includes(user.subject) || user.admin;

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}
