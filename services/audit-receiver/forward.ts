import { open, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { Entry } from "./audit-log-reader.ts";
import { readLine } from "./chain.ts";
import { summarize } from "./entry.ts";
import type { Json } from "./mask.ts";
import { listSegments, readRange } from "./segments.ts";

/** What an index takes: one JSON object a line (VictoriaLogs, Vector), or Loki's push form. */
export type ForwardFormat = "ndjson" | "loki";

export interface ForwardOptions {
  /** The journal's directory. */
  readonly dir: string;
  readonly format: ForwardFormat;
  /** Number of the last entry that is surely on the disk. */
  readonly durable: () => number;
  /** Sends one body. @throws Error when the index did not take it */
  readonly send: (body: string, contentType: string) => Promise<void>;
  readonly report: (message: string, error?: unknown) => void;
  /** How often to look for new entries, and how long to wait after the first failure. @default 1 second */
  readonly intervalMs?: number;
}

/** Names the last entry that the index took. To rebuild the index, delete this file. */
const cursorFile = "forward.json";
const batchBytes = 1024 * 1024;
const MAX_WAIT_MS = 60_000;

/** How far the forwarding has come. */
interface Position {
  readonly file: string;
  readonly offset: number;
  readonly seq: number;
}

/**
 * Forwards the audit log to an index for searching, in order, from where it stopped, however long that takes.
 * The audit log is the record and the index can be rebuilt from it, so no request of MinIO's waits for this, and the
 * index gets summaries of a bounded size: whole events hold what clients wrote, at any length, and an index silently
 * drops what is too long for it.
 *
 * @returns a function that ends it.
 */
export function startForwarding(options: ForwardOptions): () => Promise<void> {
  const { dir, report, intervalMs = 1_000 } = options;
  const stop = new AbortController();

  async function run(): Promise<void> {
    let position = await find(dir, await readCursor(dir));
    let failures = 0;
    while (!stop.signal.aborted) {
      try {
        const next = await forwardFrom(position, options);
        if (failures > 0) report("the index takes entries again");
        failures = 0;
        if (next !== undefined) {
          position = next;
          continue;
        }
      } catch (error) {
        failures += 1;
        if (failures === 1) report("the index does not take entries; they wait in the audit log", error);
        // Retention may have removed the file.
        position = await find(dir, position.seq);
      }
      const pause = Math.min(intervalMs * 2 ** Math.max(0, failures - 1), MAX_WAIT_MS);
      await sleep(pause, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  }

  const running = run().catch((error: unknown) => {
    report("forwarding stopped", error);
  });
  return async () => {
    stop.abort();
    await running;
  };
}

/** Sends one batch. @returns where to continue, or undefined when there is nothing yet. */
async function forwardFrom(position: Position, options: ForwardOptions): Promise<Position | undefined> {
  const { dir, durable, send, format } = options;
  const until = durable();
  const { batch, bytes } =
    position.file === "" ? { batch: [], bytes: 0 } : await readBatch(dir, position, until);
  const last = batch.at(-1);
  if (last === undefined && bytes > 0) return { ...position, offset: position.offset + bytes };
  if (last === undefined) {
    const files = await auditFiles(dir);
    const following = files[files.indexOf(position.file) + 1];
    return following === undefined || position.seq >= until
      ? undefined
      : { file: following, offset: 0, seq: position.seq };
  }
  const { body, contentType } = render(format, batch);
  await send(body, contentType);
  await writeCursor(dir, last.seq);
  return { file: position.file, offset: position.offset + bytes, seq: last.seq };
}

/** Whole entries from a position on, none of which may still be cut off again. */
async function readBatch(
  dir: string,
  { file, offset, seq }: Position,
  until: number,
): Promise<{ readonly batch: readonly Entry[]; readonly bytes: number }> {
  const handle = await open(join(dir, file), "r");
  try {
    for (let window = batchBytes; ; window *= 2) {
      const chunk = await readRange(handle, offset, offset + window);
      const batch: Entry[] = [];
      let end = 0;
      let ahead = false;
      for (let next = chunk.indexOf("\n"); next >= 0; next = chunk.indexOf("\n", end)) {
        const read = readLine(chunk.toString("utf8", end, next));
        ahead = read !== undefined && read.entry.seq > until;
        if (ahead) break;
        end = next + 1;
        if (read === undefined || read.entry.seq <= seq) continue;
        const event: Json = JSON.parse(read.event);
        batch.push({ seq: read.entry.seq, ...summarize(event) });
      }
      // Else the first entry is longer than the window.
      if (end > 0 || ahead || chunk.length < window) return { batch, bytes: end };
    }
  } finally {
    await handle.close();
  }
}

function render(
  format: ForwardFormat,
  batch: readonly Entry[],
): { readonly body: string; readonly contentType: string } {
  if (format === "ndjson") {
    const body = batch.map((entry) => `${JSON.stringify(entry)}\n`).join("");
    return { body, contentType: "application/x-ndjson" };
  }
  const values = batch.map((entry) => [nanoseconds(entry.time), JSON.stringify(entry)]);
  return {
    body: JSON.stringify({ streams: [{ stream: { job: "geocrop-audit" }, values }] }),
    contentType: "application/json",
  };
}

/** Unix time of an RFC 3339 time, with all its digits. */
function nanoseconds(time: string): string {
  const fraction = /\.(\d+)/.exec(time)?.[1] ?? "";
  const seconds = Math.floor(Date.parse(time) / 1000);
  return `${Number.isNaN(seconds) ? 0 : seconds}${fraction.slice(0, 9).padEnd(9, "0")}`;
}

async function auditFiles(dir: string): Promise<string[]> {
  return (await listSegments(dir)).flatMap(({ kind, name }) => (kind === "audit" ? [name] : []));
}

/** Where the entry after a number is: its file's name holds a number not greater than that. */
async function find(dir: string, seq: number): Promise<Position> {
  const files = await auditFiles(dir);
  const file = files.findLast((name) => firstNumber(name) <= seq + 1) ?? files[0] ?? "";
  return { file, offset: 0, seq };
}

function firstNumber(file: string): number {
  return Number(/-(\d{12})\./.exec(file)?.[1] ?? 1);
}

async function readCursor(dir: string): Promise<number> {
  try {
    const { seq }: { readonly seq?: unknown } = JSON.parse(await readFile(join(dir, cursorFile), "utf8"));
    return typeof seq === "number" ? seq : 0;
  } catch {
    return 0;
  }
}

async function writeCursor(dir: string, seq: number): Promise<void> {
  const part = join(dir, `${cursorFile}.part`);
  await writeFile(part, JSON.stringify({ seq }), { mode: 0o600 });
  await rename(part, join(dir, cursorFile));
}
