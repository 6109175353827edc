import { existsSync } from "node:fs";
import { mkdir, open, readFile, rm, rmdir } from "node:fs/promises";
import { dirname } from "node:path";

/** Another run has the sandbox in hand. */
export class Locked extends Error {
  constructor(pid: number, path: string) {
    super(
      `another run of the sandbox is under way (process ${String(pid)}; lock ${path}). ` +
        "Wait for its end, or end it: it cleans up after itself.",
    );
    this.name = "Locked";
  }
}

/**
 * Takes the lock, does the work, gives the lock back. A lock whose process has ended is taken over.
 *
 * Throws {@link Locked} when another process holds it.
 */
export async function withLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  await take(path);
  try {
    return await work();
  } finally {
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
    if (holder !== undefined) throw new Locked(holder, path);
    await rm(path, { force: true });
  }
  throw new Error(`the lock ${path} could not be taken`);
}

/** The living process that holds the lock. A process that merely got the number of one that ended is none of ours. */
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
