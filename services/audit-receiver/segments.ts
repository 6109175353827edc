import { constants } from "node:fs";
import { type FileHandle, open, readdir } from "node:fs/promises";
import { join } from "node:path";

/** One file of the journal on the disk. */
export interface Segment {
  readonly name: string;
  readonly kind: "audit" | "quarantine";
  /** UTC day it was begun, `YYYY-MM-DD`. */
  readonly day: string;
}

const namePattern = /^(audit|quarantine)-(\d{4}-\d\d-\d\d)(?:-\d{12})?\.ndjson$/;

/**
 * The journal's files in a directory, oldest first within each kind.
 *
 * A name is its kind, its day, and for the order within a day the number of its first entry (of a quarantine file,
 * the time of day).
 */
export async function listSegments(dir: string): Promise<Segment[]> {
  const segments = (await readdir(dir)).flatMap((name): Segment[] => {
    const [, kind, day] = namePattern.exec(name) ?? [];
    return day !== undefined && (kind === "audit" || kind === "quarantine") ? [{ name, kind, day }] : [];
  });
  const stem = ({ name }: Segment): string => name.slice(0, -".ndjson".length);
  return segments.toSorted((one, other) => (stem(one) < stem(other) ? -1 : 1));
}

interface OpenFile {
  readonly name: string;
  readonly day: string;
  readonly handle: FileHandle;
  /** Bytes known to be on the disk. */
  size: number;
  /** Whether a crash left the last line without its end. */
  torn: boolean;
}

/** The files of one kind, appended to so that a failure leaves no part of an append behind. */
export class SegmentWriter {
  readonly #dir: string;
  readonly #kind: Segment["kind"];
  readonly #limit: number;
  #current: OpenFile | undefined;

  /** @param limit bytes after which a new file is begun; one append may go beyond it. */
  constructor(dir: string, kind: Segment["kind"], limit: number) {
    this.#dir = dir;
    this.#kind = kind;
    this.#limit = limit;
  }

  /** Name of the file that is appended to. */
  get current(): string | undefined {
    return this.#current?.name;
  }

  /** Continues in a file that exists already. */
  async resume({ name, day }: Segment): Promise<void> {
    await this.#open(name, day);
  }

  /**
   * Appends lines and syncs them to the disk.
   *
   * @param label names a new file, should one be begun: twelve digits, greater than those before on that day.
   * @returns whether a new file was begun.
   */
  async append(day: string, label: string, lines: readonly string[]): Promise<boolean> {
    if (lines.length === 0) return false;
    const before = this.#current;
    const begins = before?.day !== day || before.size >= this.#limit;
    const file = begins ? await this.#open(`${this.#kind}-${day}-${label}.ndjson`, day) : before;
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
    return begins;
  }

  async close(): Promise<void> {
    await this.#current?.handle.close();
    this.#current = undefined;
  }

  async #open(name: string, day: string): Promise<OpenFile> {
    await this.close();
    const handle = await open(join(this.#dir, name), constants.O_RDWR | constants.O_CREAT, 0o600);
    try {
      const { size } = await handle.stat();
      const torn = size > 0 && (await readRange(handle, size - 1, size)).toString() !== "\n";
      await syncDirectory(this.#dir);
      this.#current = { name, day, handle, size, torn };
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
export async function syncDirectory(dir: string): Promise<void> {
  const handle = await open(dir, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** The bytes from `start` up to `end`, or fewer where the file ends. */
export async function readRange(handle: FileHandle, start: number, end: number): Promise<Buffer> {
  const bytes = Buffer.alloc(end - start);
  let filled = 0;
  while (filled < bytes.length) {
    const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, start + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}
