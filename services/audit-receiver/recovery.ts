import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";

import { type Link, readLine } from "./chain.ts";
import { readRange, type Segment } from "./segments.ts";

const readWindowBytes = 64 * 1024;
/** A torn end can be as long as one event; its beginning is enough to see what it was. */
const MAX_TORN_TEXT_BYTES = 64 * 1024;

/** What a crash left behind the last whole entry of a file. */
export interface TornEnd {
  readonly bytes: number;
  readonly text: string;
}

/**
 * The last whole entry of a file; what is behind it is handed to `keep`, then cut off.
 *
 * @returns undefined when the file holds no entry.
 */
export async function lastLink(
  path: string,
  keep: (torn: TornEnd) => Promise<unknown>,
): Promise<Link | undefined> {
  const handle = await open(path, "r+");
  try {
    const { size } = await handle.stat();
    const { entry, end } = await lastEntry(handle, size);
    if (end < size) {
      const text = await readRange(handle, end, Math.min(size, end + MAX_TORN_TEXT_BYTES));
      await keep({ bytes: size - end, text: text.toString() });
      await handle.truncate(end);
      await handle.datasync();
    }
    return entry;
  } finally {
    await handle.close();
  }
}

/** Looks back from the end of a file, ever further, for a whole entry; `end` is the offset after its line end. */
async function lastEntry(
  handle: FileHandle,
  size: number,
): Promise<{ readonly entry: Link | undefined; readonly end: number }> {
  for (let window = readWindowBytes; ; window *= 2) {
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

/** Events of the newest entries, oldest first: as many as the last `budget` bytes of the files hold whole. */
export async function newestEvents(
  dir: string,
  files: readonly Segment[],
  budget: number,
): Promise<readonly string[]> {
  const parts: string[][] = [];
  let left = budget;
  for (const { name } of files.toReversed()) {
    if (left <= 0) break;
    const handle = await open(join(dir, name), "r");
    try {
      const { size } = await handle.stat();
      const text = (await readRange(handle, Math.max(0, size - left), size)).toString();
      parts.push(text.split("\n").flatMap((line) => readLine(line)?.event ?? []));
      left -= size;
    } finally {
      await handle.close();
    }
  }
  return parts.toReversed().flat();
}
