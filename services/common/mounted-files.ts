import { readFile } from "node:fs/promises";

import type { Logger } from "./log.ts";

/** Files that are kept up to date. */
export interface MountedFiles {
  /** Reads them now, and applies them if they changed. */
  refresh: () => Promise<void>;
  /** Ends the polling. */
  stop: () => void;
}

/** How to keep files up to date. */
export interface MountedFilesOptions {
  paths: readonly string[];
  /** Takes the contents, in the order of `paths`; throws when they are not usable. */
  apply: (contents: Buffer[]) => void;
  /** Called when changed files can't be read or applied. The previous contents stay in use, and it is tried again. */
  onError: (error: unknown) => void;
  /** In milliseconds. @default 10000, well under the minute that kubelet takes to update a mounted Secret */
  pollMs?: number;
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
  const { paths, apply, onError, pollMs = 10_000 } = options;
  const read = (): Promise<Buffer[]> => Promise.all(paths.map((path) => readFile(path)));

  let current = await read();
  apply(current);

  const refresh = async (): Promise<void> => {
    try {
      const first = await read();
      if (same(first, current)) return;
      const second = await read();
      // Another refresh may have applied it meanwhile.
      if (!same(first, second) || same(second, current)) return;
      apply(second);
      current = second;
    } catch (error) {
      onError(error);
    }
  };
  const timer = setInterval(() => void refresh(), pollMs).unref();
  return { refresh, stop: () => clearInterval(timer) };
}

/** All files that a service follows. */
export interface FollowedFiles {
  /**
   * Reads files that belong together now, and whenever they change.
   *
   * @param apply - takes the contents, in the order of `paths`; throws when they are not usable
   * @throws when the first read or `apply` fails
   */
  follow: (paths: readonly string[], apply: (...contents: Buffer[]) => void) => Promise<void>;
  /** Reads all of them now, instead of at the next poll. */
  refresh: () => Promise<void>;
  /** Ends the polling. */
  stop: () => void;
}

/** Follows files with {@link mountFiles}, and logs what happens to them. */
export function followFiles(log: Logger): FollowedFiles {
  const followed: MountedFiles[] = [];
  return {
    follow: async (paths, apply) => {
      const files = await mountFiles({
        paths,
        apply: (contents) => {
          apply(...contents);
          log.info({ paths }, "files read");
        },
        onError: (err) => log.error({ paths, err }, "reload failed, keeping the previous files"),
      });
      followed.push(files);
    },
    refresh: async () => void (await Promise.all(followed.map((files) => files.refresh()))),
    stop: () => {
      for (const files of followed) files.stop();
    },
  };
}

function same(a: Buffer[], b: Buffer[]): boolean {
  return a.every((content, index) => b[index]?.equals(content) === true);
}
