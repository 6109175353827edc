import { mkdir, stat, unlink } from "node:fs/promises";
import { join } from "node:path";

import { genesis, type Link, link } from "./chain.ts";
import { DedupCache } from "./dedup-cache.ts";
import { maskUnparsed } from "./mask.ts";
import { lastLink, newestEvents } from "./recovery.ts";
import { type Removal, removals, type Retention, retentionEvent, type SizedSegment } from "./retention.ts";
import { listSegments, SegmentWriter, syncDirectory } from "./segments.ts";

/** What a request leaves behind: events, and what could not be read as one. Both are masked by the caller. */
export interface Batch {
  /** Each event as one line of JSON. */
  readonly events: readonly string[];
  readonly rejects: readonly Reject[];
}

/** Something that is not an audit event, kept for a person to look at. */
export interface Reject {
  /** Why it is quarantined, for a person to read. */
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
  /** Files that retention removed. */
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
  lastSeq(): number;
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
  /** Events that a repeat is recognised among. @default 100,000 */
  readonly dedupCapacity?: number;
  /** Milliseconds between two checks of the retention. @default one hour */
  readonly sweepIntervalMs?: number;
  /** Called when retention fails. @default does nothing */
  readonly report?: (message: string, error: unknown) => void;
}

/** How far back a start looks for events that MinIO may repeat. */
const MAX_RECOVERED_BYTES = 8 * 1024 * 1024;

/**
 * Opens the journal in a directory and continues its chain where it ended. A last line that a crash tore is
 * moved to the quarantine: it was never acknowledged, so MinIO sends that event again.
 */
export async function openJournal(dir: string, options: JournalOptions = {}): Promise<Journal> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const journal = new FileJournal(dir, options);
  await journal.open();
  return journal;
}

interface Waiting {
  readonly batch: Batch;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

class FileJournal implements Journal {
  readonly #dir: string;
  readonly #now: () => Date;
  readonly #retention: Retention | undefined;
  readonly #sweepIntervalMs: number;
  readonly #report: (message: string, error: unknown) => void;
  readonly #audit: SegmentWriter;
  readonly #quarantine: SegmentWriter;
  readonly #dedup: DedupCache;
  readonly #counts = { stored: 0, repeated: 0, rejected: 0, failed: 0, removed: 0 };
  #last: Link = genesis;
  #day = "";
  #queue: Waiting[] = [];
  #sweepDue = false;
  #worker: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    dir: string,
    {
      now = () => new Date(),
      segmentBytes = 64 * 1024 * 1024,
      retention,
      dedupCapacity = 100_000,
      sweepIntervalMs = 60 * 60 * 1000,
      report = () => undefined,
    }: JournalOptions,
  ) {
    this.#dir = dir;
    this.#now = now;
    this.#retention = retention;
    this.#sweepIntervalMs = sweepIntervalMs;
    this.#report = report;
    this.#audit = new SegmentWriter(dir, "audit", segmentBytes);
    this.#quarantine = new SegmentWriter(dir, "quarantine", segmentBytes);
    this.#dedup = new DedupCache(dedupCapacity);
  }

  async open(): Promise<void> {
    await this.#recover();
    await this.#keepRetention();
    this.#timer = setInterval(() => {
      this.#sweepDue = true;
      this.#worker ??= this.#drain();
    }, this.#sweepIntervalMs).unref();
  }

  append(batch: Batch): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ batch, resolve, reject });
      this.#worker ??= this.#drain();
    });
  }

  counts(): Counts {
    return { ...this.#counts };
  }

  lastSeq(): number {
    return this.#last.seq;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#worker;
    await Promise.all([this.#audit.close(), this.#quarantine.close()]);
  }

  /** Finds the end of the chain, and the events that MinIO may repeat. */
  async #recover(): Promise<void> {
    const segments = await listSegments(this.#dir);
    const newestQuarantine = segments.findLast(({ kind }) => kind === "quarantine");
    if (newestQuarantine !== undefined) await this.#quarantine.resume(newestQuarantine);
    const files = segments.filter(({ kind }) => kind === "audit");
    for (const file of files.toReversed()) {
      const last = await lastLink(join(this.#dir, file.name), async ({ bytes, text }) => {
        const reject = { reason: `torn end of ${file.name}`, bytes, text: maskUnparsed(text) };
        await this.#appendRejects([reject]);
      });
      if (last === undefined) continue;
      this.#last = last;
      this.#day = file.day;
      await this.#audit.resume(file);
      break;
    }
    const events = await newestEvents(this.#dir, files, MAX_RECOVERED_BYTES);
    this.#dedup.add(this.#dedup.filterNew(events).keys);
  }

  /** Writes what is queued, as long as anything is. */
  async #drain(): Promise<void> {
    while (this.#queue.length > 0 || this.#sweepDue) {
      const group = this.#queue;
      this.#queue = [];
      try {
        await this.#write(group.map(({ batch }) => batch));
        for (const { resolve } of group) resolve();
      } catch (error) {
        this.#counts.failed += group.length;
        const cause = error instanceof Error ? error : new Error(String(error));
        for (const { reject } of group) reject(cause);
      }
      if (this.#sweepDue) await this.#keepRetention();
    }
    this.#worker = undefined;
  }

  async #write(batches: readonly Batch[]): Promise<void> {
    const rejects = batches.flatMap((batch) => batch.rejects);
    const events = batches.flatMap((batch) => batch.events);
    const { fresh, keys } = this.#dedup.filterNew(events);
    // The quarantine first: should the audit file then fail, MinIO repeats the batch, and a doubled reject harms
    // nothing.
    await this.#appendRejects(rejects);
    await this.#appendEvents(fresh);
    this.#dedup.add(keys);
    this.#counts.stored += fresh.length;
    this.#counts.repeated += events.length - fresh.length;
    this.#counts.rejected += rejects.length;
  }

  async #appendRejects(rejects: readonly Reject[]): Promise<void> {
    const time = this.#now().toISOString();
    const label = time.slice("YYYY-MM-DDT".length).replaceAll(/\D/g, "").padStart(12, "0");
    const lines = rejects.map((reject) => JSON.stringify({ time, ...reject }));
    await this.#quarantine.append(dayOf(time), label, lines);
  }

  async #appendEvents(events: readonly string[]): Promise<void> {
    // Never back to an older file, whatever the clock does: the newest one ends the chain.
    const today = dayOf(this.#now().toISOString());
    if (today > this.#day) this.#day = today;
    const label = String(this.#last.seq + 1).padStart(12, "0");
    let end = this.#last;
    const lines = events.map((event) => {
      const linked = link(event, end);
      end = linked.last;
      return linked.line;
    });
    if (await this.#audit.append(this.#day, label, lines)) this.#sweepDue = true;
    this.#last = end;
  }

  async #keepRetention(): Promise<void> {
    try {
      if (this.#retention !== undefined) await this.#sweep(this.#retention);
    } catch (error) {
      this.#report("retention failed, keeping all files until the next try", error);
    }
    // Only now, for the sweep's own entry may have begun a file.
    this.#sweepDue = false;
  }

  /**
   * Removes what is past its time. A record of it goes into the chain first: an audit log that does not begin with
   * its first entry is whole if it says so itself.
   */
  async #sweep(limits: Retention): Promise<void> {
    const files: SizedSegment[] = [];
    for (const segment of await listSegments(this.#dir)) {
      files.push({ ...segment, bytes: (await stat(join(this.#dir, segment.name))).size });
    }
    const today = dayOf(this.#now().toISOString());
    const removed = removals(files, [this.#audit.current, this.#quarantine.current], today, limits);
    if (removed.length === 0) return;
    await this.#appendEvents(await Promise.all(removed.map((removal) => this.#retentionRecord(removal))));
    for (const { file } of removed) await unlink(join(this.#dir, file.name));
    await syncDirectory(this.#dir);
    this.#counts.removed += removed.length;
  }

  async #retentionRecord({ file, reason }: Removal): Promise<string> {
    const last =
      file.kind === "audit" ? await lastLink(join(this.#dir, file.name), () => Promise.resolve()) : undefined;
    return JSON.stringify({
      time: this.#now().toISOString(),
      event: retentionEvent,
      file: file.name,
      bytes: file.bytes,
      reason,
      ...(last === undefined ? {} : { last }),
    });
  }
}

/** The UTC day of an ISO time. */
function dayOf(time: string): string {
  return time.slice(0, "YYYY-MM-DD".length);
}
