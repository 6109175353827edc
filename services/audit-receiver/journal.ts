import { constants } from "node:fs";
import { type FileHandle, mkdir, open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { GENESIS, type Link, link, readLine } from "./chain.ts";
import { maskUnparsed } from "./mask.ts";

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

/** An append-only, hash-chained record of audit events in daily files. */
export interface Journal {
  /**
   * Appends a batch. Batches that arrive while the disk is busy share the next sync (group commit).
   *
   * @returns when everything is on the disk.
   * @throws Error when the disk failed; nothing of the batch is kept then.
   */
  append(batch: Batch): Promise<void>;
  /** Waits for what is under way, then closes the files. */
  close(): Promise<void>;
}

interface Waiting {
  readonly batch: Batch;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

const READ_WINDOW = 64 * 1024;
/** A torn tail can be as long as one event; a glance at it is enough. */
const TORN_TEXT_LIMIT = 64 * 1024;

/**
 * Opens the journal in a directory and takes up its chain where it ended. A last line that a crash tore is
 * moved to the quarantine: it was never acknowledged, so MinIO sends that event again.
 *
 * @param now clock, for tests. @default the system's
 */
export async function openJournal(dir: string, now: () => Date = () => new Date()): Promise<Journal> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const audit = new DailyFile(dir, "audit");
  const quarantine = new DailyFile(dir, "quarantine");
  let { last, day } = await resume(dir, quarantine, now);
  let queue: Waiting[] = [];
  let worker: Promise<void> | undefined;

  async function write(batches: readonly Batch[]): Promise<void> {
    const time = now().toISOString();
    // Never back to an older file, whatever the clock does: the newest one ends the chain.
    const today = dayOf(time);
    if (today > day) day = today;
    const rejects = batches
      .flatMap((batch) => batch.rejects)
      .map((reject) => JSON.stringify({ time, ...reject }));
    let end = last;
    const lines = batches
      .flatMap((batch) => batch.events)
      .map((event) => {
        const linked = link(event, end);
        end = linked.last;
        return linked.line;
      });
    // The quarantine first: should the audit file then fail, MinIO repeats the batch, and a doubled reject harms
    // nothing, while a doubled event would be in the chain for ever.
    await quarantine.append(today, rejects);
    await audit.append(day, lines);
    last = end;
  }

  async function drain(): Promise<void> {
    while (queue.length > 0) {
      const group = queue;
      queue = [];
      try {
        await write(group.map(({ batch }) => batch));
        for (const { resolve } of group) resolve();
      } catch (error) {
        const cause = error instanceof Error ? error : new Error(String(error));
        for (const { reject } of group) reject(cause);
      }
    }
    worker = undefined;
  }

  return {
    append: (batch) =>
      new Promise((resolve, reject) => {
        queue.push({ batch, resolve, reject });
        worker ??= drain();
      }),
    close: async () => {
      await worker;
      await Promise.all([audit.close(), quarantine.close()]);
    },
  };
}

interface OpenFile {
  readonly day: string;
  readonly handle: FileHandle;
  /** Bytes known to be on the disk. */
  size: number;
  /** Whether a crash left the last line without its end. */
  torn: boolean;
}

/** `<prefix>-YYYY-MM-DD.ndjson`, one a day, appended to so that a failure leaves no part of an append behind. */
class DailyFile {
  readonly #dir: string;
  readonly #prefix: string;
  #current: OpenFile | undefined;

  constructor(dir: string, prefix: string) {
    this.#dir = dir;
    this.#prefix = prefix;
  }

  async append(day: string, lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return;
    const file = this.#current?.day === day ? this.#current : await this.#open(day);
    const bytes = Buffer.from(`${file.torn ? "\n" : ""}${lines.join("\n")}\n`);
    try {
      await writeAll(file.handle, bytes, file.size);
      await file.handle.datasync();
      file.size += bytes.length;
      file.torn = false;
    } catch (error) {
      // A failed sync may have dropped pages, so nothing of this append is trusted: cut it off and start over.
      await file.handle.truncate(file.size).catch(() => undefined);
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#current?.handle.close();
    this.#current = undefined;
  }

  async #open(day: string): Promise<OpenFile> {
    await this.close();
    const path = join(this.#dir, `${this.#prefix}-${day}.ndjson`);
    const handle = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    try {
      const { size } = await handle.stat();
      const torn = size > 0 && (await readRange(handle, size - 1, size)).toString() !== "\n";
      await syncDirectory(this.#dir);
      this.#current = { day, handle, size, torn };
      return this.#current;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }
}

/** Writes at a position rather than at the end, so that what an earlier failure left there is overwritten. */
async function writeAll(handle: FileHandle, bytes: Buffer, position: number): Promise<void> {
  let written = 0;
  while (written < bytes.length) {
    const { bytesWritten } = await handle.write(bytes, written, bytes.length - written, position + written);
    written += bytesWritten;
  }
}

/** A new file is only there after a power cut if its directory was synced too. */
async function syncDirectory(dir: string): Promise<void> {
  const handle = await open(dir, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Finds the end of the chain in the newest file that has an entry, and clears torn tails away. */
async function resume(
  dir: string,
  quarantine: DailyFile,
  now: () => Date,
): Promise<{ readonly last: Link; readonly day: string }> {
  const names = (await readdir(dir)).filter((name) => /^audit-\d{4}-\d\d-\d\d\.ndjson$/.test(name));
  for (const name of names.toSorted().toReversed()) {
    const handle = await open(join(dir, name), "r+");
    try {
      const { size } = await handle.stat();
      const { entry, end } = await lastEntry(handle, size);
      if (end < size) {
        const text = await readRange(handle, end, Math.min(size, end + TORN_TEXT_LIMIT));
        const time = now().toISOString();
        const reject = {
          time,
          reason: `torn end of ${name}`,
          bytes: size - end,
          text: maskUnparsed(text.toString()),
        };
        await quarantine.append(dayOf(time), [JSON.stringify(reject)]);
        await handle.truncate(end);
        await handle.datasync();
      }
      if (entry !== undefined) return { last: entry, day: name.slice("audit-".length, -".ndjson".length) };
    } finally {
      await handle.close();
    }
  }
  return { last: GENESIS, day: "" };
}

/** The UTC day of an ISO time. */
function dayOf(time: string): string {
  return time.slice(0, "YYYY-MM-DD".length);
}

/** Looks back from the end of a file, ever further, for a whole entry; `end` is the offset after its line end. */
async function lastEntry(
  handle: FileHandle,
  size: number,
): Promise<{ readonly entry: Link | undefined; readonly end: number }> {
  for (let window = READ_WINDOW; ; window *= 2) {
    const start = Math.max(0, size - window);
    const bytes = await readRange(handle, start, size);
    let lineEnd = bytes.lastIndexOf("\n");
    while (lineEnd >= 0) {
      const before = lineEnd === 0 ? -1 : bytes.lastIndexOf("\n", lineEnd - 1);
      // The window's first line may lack its beginning.
      if (before < 0 && start > 0) break;
      const read = readLine(bytes.toString("utf8", before + 1, lineEnd));
      if (read !== undefined) return { entry: read.entry, end: start + lineEnd + 1 };
      lineEnd = before;
    }
    if (start === 0) return { entry: undefined, end: 0 };
  }
}

async function readRange(handle: FileHandle, start: number, end: number): Promise<Buffer> {
  const bytes = Buffer.alloc(end - start);
  let filled = 0;
  while (filled < bytes.length) {
    const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, start + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}
