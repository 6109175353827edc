import { existsSync, writeFileSync } from "node:fs";
import { mkdir, open, readFile, rm, rmdir } from "node:fs/promises";
import { dirname } from "node:path";

/** Another run of the sandbox holds the lock. */
export class LockHeldError extends Error {
  constructor(pid: number, path: string) {
    super(
      `another run of the sandbox is under way (process ${String(pid)}; lock ${path}). ` +
        "Wait until it has ended, or stop it: it cleans up after itself.",
    );
    this.name = "LockHeldError";
  }
}

/**
 * Runs `work` while holding the lock. The lock of a process that has ended is taken over.
 *
 * `work` can record what it is doing, for {@link currentRun}.
 *
 * @throws {LockHeldError} when another process holds it
 */
export async function withLock<T>(
  path: string,
  work: (recordActivity: (text: string) => void) => Promise<T>,
): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  await take(path);
  try {
    return await work((text) => writeFileSync(activityFile(path), text, { mode: 0o600 }));
  } finally {
    await rm(activityFile(path), { force: true });
    await rm(path, { force: true });
    // The node's record may be in the folder: then it stays.
    await rmdir(dirname(path)).catch(() => undefined);
  }
}

async function take(path: string): Promise<void> {
  for (let attempt = 0; attempt < 3; attempt += 1) {
    try {
      const file = await open(path, "wx", 0o600);
      await file.writeFile(String(process.pid));
      await file.close();
      return;
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
    }
    const holder = await lockHolder(path);
    if (holder !== undefined) throw new LockHeldError(holder, path);
    await rm(path, { force: true });
  }
  throw new Error(`the lock ${path} could not be taken`);
}

/** The running process that holds the lock. Another process that was given the same id does not count. */
export async function lockHolder(path: string): Promise<number | undefined> {
  try {
    const pid = Number(await readFile(path, "utf8"));
    if (!Number.isInteger(pid) || pid <= 0 || !existsSync(`/proc/${String(pid)}`)) return undefined;
    const commandLine = await readFile(`/proc/${String(pid)}/cmdline`, "utf8");
    return commandLine.includes("sandbox/main.ts") ? pid : undefined;
  } catch {
    return undefined;
  }
}

/** A run of the sandbox that is under way. */
export interface CurrentRun {
  readonly pid: number;
  /** What it is doing, such as `[3/9] Build Kubernetes`. Empty when it has not said so yet. */
  readonly activity: string;
}

/** The run that holds the lock, if there is one. */
export async function currentRun(path: string): Promise<CurrentRun | undefined> {
  const pid = await lockHolder(path);
  if (pid === undefined) return undefined;
  return { pid, activity: await readFile(activityFile(path), "utf8").catch(() => "") };
}

/** A file of its own: a lock file that was being rewritten could be taken for one without a holder. */
function activityFile(path: string): string {
  return `${path}.activity`;
}
