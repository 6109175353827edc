import { execFile, spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { mkdtemp, realpath } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { UserError } from "../command-line.ts";

const execute = promisify(execFile);

/** A commit, and how it was asked for. */
export interface Revision {
  readonly ref: string;
  readonly commit: string;
}

/** Runs git. A hook of the repository's has no say in a preview. @throws UserError when there is no git. */
async function git(folder: string, ...args: readonly string[]): Promise<string> {
  try {
    const { stdout } = await execute("git", ["-c", "core.hooksPath=/dev/null", ...args], {
      cwd: folder,
      maxBuffer: 64 * 1024 * 1024,
    });
    return stdout.trimEnd();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") {
      throw new UserError("git is not installed: it is needed to look at the revision to compare with");
    }
    throw error;
  }
}

async function tryGit(folder: string, ...args: readonly string[]): Promise<string | undefined> {
  try {
    return await git(folder, ...args);
  } catch (error) {
    if (error instanceof UserError) throw error;
    return undefined;
  }
}

const commitOf = (folder: string, ref: string) =>
  tryGit(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", `${ref}^{commit}`);

/** The commit that is checked out. @throws UserError when the folder is in no repository, or that has no commit. */
export async function headOf(folder: string): Promise<Revision> {
  if ((await tryGit(folder, "rev-parse", "--git-dir")) === undefined) {
    throw new UserError(
      `${folder} is in no git repository: run the preview in a clone, it compares two revisions`,
    );
  }
  const commit = await commitOf(folder, "HEAD");
  if (commit === undefined)
    throw new UserError("the repository has no commit yet: there is nothing to compare with");
  return { ref: (await tryGit(folder, "symbolic-ref", "--short", "HEAD")) ?? "HEAD", commit };
}

/** Paths in the folder that differ from the commit that is checked out, new ones among them. */
export async function uncommitted(folder: string): Promise<string[]> {
  const status = await git(folder, "status", "--porcelain", "--no-renames", "-z", "--", ".");
  return status
    .split("\0")
    .filter((line) => line !== "")
    .map((line) => line.slice(3));
}

/**
 * The revision to compare with: the one asked for, or where the branch left the main one.
 *
 * @throws UserError when there is no such revision.
 */
export async function baseOf(folder: string, asked: string | undefined): Promise<Revision> {
  if (asked !== undefined) {
    const commit = await commitOf(folder, asked);
    if (commit === undefined) {
      throw new UserError(
        `there is no revision "${asked}" here: name a branch, tag or commit, or fetch it first (git fetch origin ${asked}; a shallow clone lacks history: git fetch --unshallow)`,
      );
    }
    return { ref: asked, commit };
  }
  for (const main of ["origin/HEAD", "origin/main", "main"]) {
    if ((await commitOf(folder, main)) === undefined) continue;
    const commit = await tryGit(folder, "merge-base", "HEAD", main);
    if (commit === undefined) {
      throw new UserError(
        `this branch and ${main} have no common commit here: name the base by --base, or fetch more history (git fetch --unshallow)`,
      );
    }
    return { ref: main, commit };
  }
  throw new UserError('there is no branch "main" to compare with: name the base by --base');
}

/**
 * Lays a commit out in a temporary folder, hands the folder to `work`, and takes it away again, after an interruption
 * too.
 *
 * @returns what `work` returns.
 */
export async function withWorktree<T>(
  folder: string,
  { commit }: Revision,
  work: (worktree: string) => Promise<T>,
): Promise<T> {
  // git and Node name a module by its real path.
  const temporary = await realpath(await mkdtemp(join(tmpdir(), "geocrop-preview-")));
  const tree = join(temporary, "base");
  const clear = (): void => {
    spawnSync("git", ["worktree", "remove", "--force", tree], { cwd: folder });
    rmSync(temporary, { recursive: true, force: true });
  };
  const stop = (): void => {
    clear();
    process.exit(130);
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.once(signal, stop);
  try {
    await git(folder, "worktree", "add", "--quiet", "--detach", tree, commit);
    const prefix = await git(folder, "rev-parse", "--show-prefix");
    return await work(join(tree, prefix));
  } finally {
    for (const signal of signals) process.off(signal, stop);
    clear();
  }
}
