import { mkdir, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { GENESIS, type Link, link } from "./chain.ts";
import { maskUnparsed } from "./mask.ts";
import { RecentEvents } from "./recent.ts";
import { lastLink, newestEvents } from "./resume.ts";
import { type Removal, removals, type Retention, RETENTION_EVENT, type SizedSegment } from "./retention.ts";
import { listSegments, SegmentWriter, syncDirectory } from "./segments.ts";

/** What a request leaves behind: events, and what could not be read as one. Both are masked by the caller. */
export interface Batch {
  /** Each event as one line of JSON. */
  readonly events: readonly string[];
  readonly rejects: readonly Reject[];
}

/** Something that is no audit event, kept for a person to look at. */
export interface Reject {
  /** Why it was set aside, for a person to read. */
  readonly reason: string;
  /** Size of what came, in bytes; the text may be cut. */
  readonly bytes: number;
  readonly text: string;
}

/** What the journal did since it was opened. */
export interface Counts {
  /** Events on the disk. */
  readonly stored: number;
  /** Events that were there already, and were acknowledged again. */
  readonly repeated: number;
  readonly rejected: number;
  /** Batches that the disk did not take. */
  readonly failed: number;
  /** Files that retention took away. */
  readonly removed: number;
}

/** An append-only, hash-chained record of audit events in files that begin anew each day and at a size. */
export interface Journal {
  /**
   * Appends a batch. Batches that arrive while the disk is busy share the next sync (group commit).
   *
   * @returns when everything is on the disk.
   * @throws Error when the disk failed; nothing of the batch is kept then.
   */
  append(batch: Batch): Promise<void>;
  counts(): Counts;
  /** Number of the last entry on the disk. */
  end(): number;
  /** Waits for what is under way, then closes the files. */
  close(): Promise<void>;
}

export interface JournalOptions {
  /** Clock, for tests. @default the system's */
  readonly now?: () => Date;
  /** Bytes after which a new file is begun. @default 64 MiB */
  readonly segmentBytes?: number;
  /** @default everything is kept */
  readonly retention?: Retention | undefined;
  /** Events that a repeat is known by. @default 100,000 */
  readonly remembered?: number;
  /** Milliseconds between two looks at the retention. @default one hour */
  readonly sweepInterval?: number;
  /** Where a retention that cannot be kept is told. @default nowhere */
  readonly report?: (message: string, error: unknown) => void;
}

interface Waiting {
  readonly batch: Batch;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** How far back a start looks for events that MinIO may repeat, in bytes. */
const REMEMBERED_BYTES = 8 * 1024 * 1024;

/**
 * Opens the journal in a directory and takes up its chain where it ended. A last line that a crash tore is
 * moved to the quarantine: it was never acknowledged, so MinIO sends that event again.
 */
export async function openJournal(
  dir: string,
  {
    now = () => new Date(),
    segmentBytes = 64 * 1024 * 1024,
    retention,
    remembered = 100_000,
    sweepInterval = 60 * 60 * 1000,
    report = () => undefined,
  }: JournalOptions = {},
): Promise<Journal> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const audit = new SegmentWriter(dir, "audit", segmentBytes);
  const quarantine = new SegmentWriter(dir, "quarantine", segmentBytes);
  const recent = new RecentEvents(remembered);
  const counts = { stored: 0, repeated: 0, rejected: 0, failed: 0, removed: 0 };
  let last: Link = GENESIS;
  let day = "";
  let queue: Waiting[] = [];
  let sweepDue = false;
  let worker: Promise<void> | undefined;

  async function takeUp(): Promise<void> {
    const segments = await listSegments(dir);
    const aside = segments.findLast(({ kind }) => kind === "quarantine");
    if (aside !== undefined) await quarantine.resume(aside);
    const files = segments.filter(({ kind }) => kind === "audit");
    for (const file of files.toReversed()) {
      const found = await lastLink(join(dir, file.name), async ({ bytes, text }) => {
        await setAside([{ reason: `torn end of ${file.name}`, bytes, text: maskUnparsed(text) }]);
      });
      if (found === undefined) continue;
      last = found;
      day = file.day;
      await audit.resume(file);
      break;
    }
    recent.remember(recent.unseen(await newestEvents(dir, files, REMEMBERED_BYTES)).keys);
  }

  async function setAside(rejects: readonly Reject[]): Promise<void> {
    const time = now().toISOString();
    const label = time.slice("YYYY-MM-DDT".length).replaceAll(/\D/g, "").padStart(12, "0");
    await quarantine.append(
      dayOf(time),
      label,
      rejects.map((reject) => JSON.stringify({ time, ...reject })),
    );
  }

  async function extend(events: readonly string[]): Promise<void> {
    // Never back to an older file, whatever the clock does: the newest one ends the chain.
    const today = dayOf(now().toISOString());
    if (today > day) day = today;
    const label = String(last.seq + 1).padStart(12, "0");
    let end = last;
    const lines = events.map((event) => {
      const linked = link(event, end);
      end = linked.last;
      return linked.line;
    });
    if (await audit.append(day, label, lines)) sweepDue = true;
    last = end;
  }

  async function write(batches: readonly Batch[]): Promise<void> {
    const rejects = batches.flatMap((batch) => batch.rejects);
    const events = batches.flatMap((batch) => batch.events);
    const { fresh, keys } = recent.unseen(events);
    // The quarantine first: should the audit file then fail, MinIO repeats the batch, and a doubled reject harms
    // nothing.
    await setAside(rejects);
    await extend(fresh);
    recent.remember(keys);
    counts.stored += fresh.length;
    counts.repeated += events.length - fresh.length;
    counts.rejected += rejects.length;
  }

  /**
   * Takes away what is past its time. The chain tells of it first: a trail that does not begin with its first
   * entry is whole if it says so itself.
   */
  async function sweep(limits: Retention): Promise<void> {
    const files: SizedSegment[] = [];
    for (const segment of await listSegments(dir)) {
      files.push({ ...segment, bytes: (await stat(join(dir, segment.name))).size });
    }
    const today = dayOf(now().toISOString());
    const removed = removals(files, [audit.current, quarantine.current], today, limits);
    if (removed.length === 0) return;
    await extend(await Promise.all(removed.map(farewell)));
    for (const { file } of removed) await unlink(join(dir, file.name));
    await syncDirectory(dir);
    counts.removed += removed.length;
  }

  async function farewell({ file, reason }: Removal): Promise<string> {
    const end =
      file.kind === "audit" ? await lastLink(join(dir, file.name), () => Promise.resolve()) : undefined;
    return JSON.stringify({
      time: now().toISOString(),
      event: RETENTION_EVENT,
      file: file.name,
      bytes: file.bytes,
      reason,
      ...(end === undefined ? {} : { last: end }),
    });
  }

  async function drain(): Promise<void> {
    while (queue.length > 0 || sweepDue) {
      const group = queue;
      queue = [];
      try {
        await write(group.map(({ batch }) => batch));
        for (const { resolve } of group) resolve();
      } catch (error) {
        counts.failed += group.length;
        const cause = error instanceof Error ? error : new Error(String(error));
        for (const { reject } of group) reject(cause);
      }
      if (sweepDue) await keepRetention();
    }
    worker = undefined;
  }

  async function keepRetention(): Promise<void> {
    try {
      if (retention !== undefined) await sweep(retention);
    } catch (error) {
      report("the retention could not be kept", error);
    }
    // Only now, for the sweep's own entry may have begun a file.
    sweepDue = false;
  }

  await takeUp();
  await keepRetention();
  const timer = setInterval(() => {
    sweepDue = true;
    worker ??= drain();
  }, sweepInterval);
  timer.unref();

  return {
    append: (batch) =>
      new Promise((resolve, reject) => {
        queue.push({ batch, resolve, reject });
        worker ??= drain();
      }),
    counts: () => ({ ...counts }),
    end: () => last.seq,
    close: async () => {
      clearInterval(timer);
      await worker;
      await Promise.all([audit.close(), quarantine.close()]);
    },
  };
}

/** The UTC day of an ISO time. */
function dayOf(time: string): string {
  return time.slice(0, "YYYY-MM-DD".length);
}
