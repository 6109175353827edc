import { createReadStream } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { genesis, type Link, readLine } from "./chain.ts";
import { summarize, type Summary } from "./entry.ts";
import type { Json } from "./mask.ts";
import { retentionEvent } from "./retention.ts";
import { listSegments } from "./segments.ts";

/** Which entries to read: those that match everything given. */
export interface Filter {
  readonly bucket?: string | undefined;
  /** Objects below `jobs/<job>/`. */
  readonly job?: string | undefined;
  /** Pseudonyms of the user that the URL was issued to, or access keys: any of them. */
  readonly users?: readonly string[] | undefined;
  /** Not older than this: RFC 3339, UTC. */
  readonly since?: string | undefined;
}

export interface Entry extends Summary {
  /** Number in the chain. */
  readonly seq: number;
}

/** What a check of the chain found. */
export interface Verdict {
  readonly files: number;
  readonly entries: number;
  /** The first entry that is still kept, by its number. */
  readonly first: number;
  /** Note it elsewhere: a later check with it shows that nothing before it was rewritten. */
  readonly last: Link;
  /** What is wrong, for a person to read; empty when nothing is. */
  readonly faults: readonly string[];
}

/** Enough to see what happened; one missing file could bring thousands. */
const MAX_FAULTS_SHOWN = 20;

/** The lines of the audit log, oldest first, each with its file's name. */
async function* lines(dir: string): AsyncGenerator<{ readonly file: string; readonly line: string }> {
  for (const { name, kind } of await listSegments(dir)) {
    if (kind !== "audit") continue;
    for await (const line of readLines(join(dir, name))) yield { file: name, line };
  }
}

/** Not Node's readline: it takes U+2028 for a line's end, which a client may have written into an event. */
async function* readLines(path: string): AsyncGenerator<string> {
  let parts: Buffer[] = [];
  for await (const chunk of createReadStream(path)) {
    if (!Buffer.isBuffer(chunk)) throw new TypeError("the stream has an encoding set");
    let start = 0;
    for (let end = chunk.indexOf("\n"); end >= 0; end = chunk.indexOf("\n", start)) {
      yield Buffer.concat([...parts, chunk.subarray(start, end)]).toString();
      parts = [];
      start = end + 1;
    }
    parts.push(chunk.subarray(start));
  }
  const rest = Buffer.concat(parts).toString();
  if (rest !== "") yield rest;
}

/** Entries that match, oldest first. Lines that are not a whole entry are skipped: {@link verify} reports them. */
export async function* entries(dir: string, filter: Filter): AsyncGenerator<Entry> {
  for await (const { line } of lines(dir)) {
    const read = readLine(line);
    if (read === undefined) continue;
    const event: Json = JSON.parse(read.event);
    const entry = { seq: read.entry.seq, ...summarize(event) };
    if (matches(entry, filter)) yield entry;
  }
}

function matches(entry: Entry, { bucket, job, users, since }: Filter): boolean {
  return (
    (bucket === undefined || entry.bucket === bucket) &&
    (job === undefined || entry.object.startsWith(`jobs/${job}/`)) &&
    (users === undefined || users.includes(entry.subject) || users.includes(entry.accessKey)) &&
    (since === undefined || Date.parse(entry.time) >= Date.parse(since))
  );
}

/**
 * Checks the whole chain: every entry is whole, follows the one before, and if the audit log does not begin with
 * number 1, a later entry says that retention removed the file that ended just before it.
 *
 * @param anchor an entry that was noted elsewhere earlier: it must still be there, unless retention removed it.
 */
export async function verify(dir: string, anchor?: Link): Promise<Verdict> {
  const faults: string[] = [];
  const files = new Set<string>();
  const removedEnds = new Set<string>();
  let count = 0;
  let start: Link | undefined;
  let last: Link | undefined;
  for await (const { file, line } of lines(dir)) {
    files.add(file);
    const read = readLine(line);
    if (read === undefined) {
      faults.push(`${file}: the entry after number ${last?.seq ?? 0} was altered or is not an entry`);
      continue;
    }
    const { entry, prev, event } = read;
    if (last === undefined) {
      start = { seq: entry.seq - 1, hash: prev };
    } else if (entry.seq !== last.seq + 1 || prev !== last.hash) {
      faults.push(`${file}: entry ${entry.seq} does not follow entry ${last.seq}`);
    }
    if (anchor?.seq === entry.seq && anchor.hash !== entry.hash) {
      faults.push(`${file}: entry ${entry.seq} is not the one that was noted: the audit log was rewritten`);
    }
    if (event.includes(retentionEvent)) removedEnds.add(removedEnd(event));
    last = entry;
    count += 1;
  }
  if (start !== undefined && nameOf(start) !== nameOf(genesis) && !removedEnds.has(nameOf(start))) {
    faults.push(`entries up to number ${start.seq} are gone, and no retention record in the chain says so`);
  }
  if (anchor !== undefined && anchor.seq > (last?.seq ?? 0)) {
    faults.push(`the audit log ends at entry ${last?.seq ?? 0}, before the noted entry ${anchor.seq}`);
  }
  return {
    files: files.size,
    entries: count,
    first: (start?.seq ?? 0) + 1,
    last: last ?? genesis,
    faults: faults.slice(0, MAX_FAULTS_SHOWN),
  };
}

const nameOf = ({ seq, hash }: Link): string => `${seq}:${hash}`;

/** The last entry of the file that a retention record names. A client cannot forge one: MinIO's events have a `version`. */
function removedEnd(event: string): string {
  const read: {
    readonly event?: unknown;
    readonly version?: unknown;
    readonly last?: { readonly seq?: unknown; readonly hash?: unknown };
  } = JSON.parse(event);
  const own = read.event === retentionEvent && read.version === undefined;
  return own ? `${String(read.last?.seq)}:${String(read.last?.hash)}` : "";
}

/** Reads `<seq>:<hash>`. @throws Error that shows the form */
export function parseAnchor(text: string): Link {
  const [, seq, hash] = /^(\d+):([0-9a-f]{64})$/.exec(text) ?? [];
  if (seq === undefined || hash === undefined) {
    throw new Error(`--anchor ${text}: give <number>:<hash>, as an earlier verify-chain printed it`);
  }
  return { seq: Number(seq), hash };
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      bucket: { type: "string" },
      job: { type: "string" },
      user: { type: "string", multiple: true },
      since: { type: "string" },
      anchor: { type: "string" },
    },
  });
  const dir = process.env["DATA_DIR"] ?? "/var/lib/audit";
  if (positionals[0] === "verify") {
    print(await verify(dir, values.anchor === undefined ? undefined : parseAnchor(values.anchor)));
  } else {
    const { bucket, job, user: users, since } = values;
    for await (const entry of entries(dir, { bucket, job, users, since })) print(entry);
  }
}
