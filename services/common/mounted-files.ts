import { readFile } from "node:fs/promises";

/** Files that are kept up to date. */
export interface MountedFiles {
  /** Reads them now, and applies them if they changed. */
  refresh: () => Promise<void>;
  /** Ends the watch. */
  stop: () => void;
}

/** How to keep files up to date. */
export interface MountedFilesOptions {
  paths: readonly string[];
  /** Takes the contents, in the order of `paths`; throws when they are of no use. */
  apply: (contents: Buffer[]) => void;
  /** Told when changed files can't be read or applied; what was applied before stays in use. */
  onError: (error: unknown) => void;
  /** @default 10000 (milliseconds), well under the minute that kubelet takes to update a mounted Secret */
  everyMs?: number;
}

/**
 * Reads files that belong together, and again whenever they change.
 *
 * It polls: kubelet replaces a mounted Secret by swapping a symbolic link, for which file watches are
 * unreliable. A new content counts once two reads in a row agree, so that a swap between two files never
 * pairs an old certificate with a new key.
 *
 * @throws when the first read or `apply` fails
 */
export async function mountFiles(options: MountedFilesOptions): Promise<MountedFiles> {
  const { paths, apply, onError, everyMs = 10_000 } = options;
  const read = (): Promise<Buffer[]> => Promise.all(paths.map((path) => readFile(path)));

  let known = await read();
  apply(known);

  const refresh = async (): Promise<void> => {
    try {
      const first = await read();
      if (same(first, known)) return;
      const second = await read();
      if (!same(first, second)) return;
      known = second;
      apply(second);
    } catch (error) {
      onError(error);
    }
  };
  const timer = setInterval(() => void refresh(), everyMs).unref();
  return { refresh, stop: () => clearInterval(timer) };
}

function same(a: Buffer[], b: Buffer[]): boolean {
  return a.every((content, index) => b[index]?.equals(content) === true);
}
