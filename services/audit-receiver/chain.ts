import { createHash } from "node:crypto";

/** The last entry of a chain: the next one names its hash. */
export interface Link {
  /** Number of the entry, from 1, without gaps over all files. */
  readonly seq: number;
  /** SHA-256 of the entry, lower-case hex. */
  readonly hash: string;
}

/** What the very first entry links to. */
export const genesis: Link = { seq: 0, hash: "0".repeat(64) };

const linePattern = /^\{"seq":(\d+),"prev":"([0-9a-f]{64})","hash":"([0-9a-f]{64})","event":(.*)\}$/s;

function digest(seq: number, prev: string, event: string): string {
  return createHash("sha256").update(`${seq}\n${prev}\n${event}`).digest("hex");
}

/**
 * One NDJSON line (without its line end) that links an event to the entry before it. The hash covers the
 * number, the previous hash and the event's bytes as they stand in the line, so that any language can check it.
 *
 * @param event JSON without line breaks.
 */
export function link(event: string, previous: Link): { readonly line: string; readonly last: Link } {
  const seq = previous.seq + 1;
  const hash = digest(seq, previous.hash, event);
  return {
    line: `{"seq":${seq},"prev":"${previous.hash}","hash":"${hash}","event":${event}}`,
    last: { seq, hash },
  };
}

/** The entry in a line if the line is whole and its own hash is right, else undefined. */
export function readLine(
  line: string,
): { readonly entry: Link; readonly prev: string; readonly event: string } | undefined {
  const [, number, prev, hash, event] = linePattern.exec(line) ?? [];
  if (number === undefined || prev === undefined || hash === undefined || event === undefined)
    return undefined;
  const seq = Number(number);
  return digest(seq, prev, event) === hash ? { entry: { seq, hash }, prev, event } : undefined;
}

/**
 * Checks lines in order, from the entry before the first one.
 *
 * @returns the last entry.
 * @throws Error saying at which entry the chain breaks.
 */
export function verifyChain(lines: Iterable<string>, start: Link = genesis): Link {
  let last = start;
  for (const line of lines) {
    const read = readLine(line);
    if (read === undefined)
      throw new Error(`the entry after number ${last.seq} was altered or is not an entry`);
    if (read.entry.seq !== last.seq + 1 || read.prev !== last.hash) {
      throw new Error(
        `entry ${read.entry.seq} does not follow entry ${last.seq}: something was removed, added or moved`,
      );
    }
    last = read.entry;
  }
  return last;
}
