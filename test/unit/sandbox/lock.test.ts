import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LockHeldError, currentRun, withLock } from "../../../sandbox/lock.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "geocrop-lock-"));
});
afterAll(() => rm(folder, { recursive: true }));

describe("the sandbox's lock", () => {
  test("shows the run that holds it and what that is doing, until the process has ended", async () => {
    const lock = join(folder, "held");
    // The lock counts for a process whose command line names the sandbox's program.
    const holder = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)", "sandbox/main.ts"]);
    await writeFile(lock, String(holder.pid));
    await writeFile(`${lock}.activity`, "[3/9] Build");
    expect(await currentRun(lock)).toEqual({ pid: holder.pid, activity: "[3/9] Build" });
    await expect(withLock(lock, async () => undefined)).rejects.toThrow(LockHeldError);

    holder.kill("SIGKILL");
    await once(holder, "close");
    expect(await currentRun(lock)).toBeUndefined();
    expect(await withLock(lock, async () => "taken over")).toBe("taken over");
  });

  test("leaves no file behind, whatever the work recorded and however it ended", async () => {
    const lock = join(folder, "run/lock");
    const failing = withLock(lock, async (recordActivity) => {
      recordActivity("[1/9] Check the machine");
      expect(existsSync(`${lock}.activity`)).toBe(true);
      throw new Error("failed");
    });
    await expect(failing).rejects.toThrow("failed");
    expect(existsSync(join(folder, "run"))).toBe(false);
  });
});
