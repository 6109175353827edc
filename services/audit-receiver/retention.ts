import type { Segment } from "./segments.ts";

/** The event that retention leaves in the chain for each file that it removes. */
export const retentionEvent = "geocrop:audit:retention";

/** How long the audit log is kept: until either limit. */
export interface Retention {
  /** Whole days after the one a file was begun on. */
  readonly days: number;
  /** Of all files together, in bytes. Must leave room on the volume. */
  readonly bytes: number;
}

export interface SizedSegment extends Segment {
  readonly bytes: number;
}

/** A file to remove, and why, for a person to read. */
export interface Removal {
  readonly file: SizedSegment;
  readonly reason: string;
}

const dayMs = 24 * 60 * 60 * 1000;

/**
 * The files to remove, oldest first. Never one that is still written to.
 *
 * @param files of both kinds, oldest first within each.
 * @param inUse names of the files still written to.
 * @param today UTC day, `YYYY-MM-DD`.
 */
export function removals(
  files: readonly SizedSegment[],
  inUse: readonly (string | undefined)[],
  today: string,
  { days, bytes }: Retention,
): Removal[] {
  const oldestDay = new Date(Date.parse(today) - days * dayMs).toISOString().slice(0, today.length);
  let total = files.reduce((sum, file) => sum + file.bytes, 0);
  const found: Removal[] = [];
  for (const file of files.toSorted((one, other) => one.day.localeCompare(other.day))) {
    if (inUse.includes(file.name)) continue;
    const old = file.day < oldestDay;
    if (!old && total <= bytes) continue;
    total -= file.bytes;
    found.push({ file, reason: old ? `older than ${days} days` : `the audit log exceeds ${bytes} bytes` });
  }
  return found;
}
