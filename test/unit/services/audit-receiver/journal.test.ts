import {
  type FileHandle,
  appendFile,
  mkdtemp,
  open,
  readFile,
  readdir,
  rm,
  truncate,
  writeFile,
} from "node:fs/promises";
import { statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { verifyChain } from "../../../../services/audit-receiver/chain.ts";
import { verify } from "../../../../services/audit-receiver/audit-log-reader.ts";
import {
  type Journal,
  type JournalOptions,
  openJournal,
} from "../../../../services/audit-receiver/journal.ts";

const DAY = new Date("2026-11-24T23:59:59.999Z");
const NEXT_DAY = new Date("2026-11-25T00:00:00.000Z");
const FILE = "audit-2026-11-24-000000000001.ndjson";
const QUARANTINE = "quarantine-2026-11-24-000235959999.ndjson";

let dir: string;
let now: Date;
const journals: Journal[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "audit-journal-"));
  now = DAY;
});

afterEach(async () => {
  vi.restoreAllMocks();
  await Promise.all(journals.splice(0).map((journal) => journal.close()));
  await rm(dir, { recursive: true });
});

async function opened(options: JournalOptions = {}): Promise<Journal> {
  const journal = await openJournal(dir, { now: () => now, ...options });
  journals.push(journal);
  return journal;
}

function events(...numbers: readonly number[]): { events: string[]; rejects: [] } {
  return { events: numbers.map((number) => JSON.stringify({ number })), rejects: [] };
}

async function lines(name: string): Promise<string[]> {
  return (await readFile(join(dir, name), "utf8")).split("\n").slice(0, -1);
}

describe("the chain", () => {
  test("numbers entries from 1 and each names the one before", async () => {
    const journal = await opened();
    await journal.append(events(1, 2));
    await journal.append(events(3));
    expect(verifyChain(await lines(FILE))).toMatchObject({ seq: 3 });
    expect(JSON.parse((await lines(FILE))[2] ?? "")).toMatchObject({ seq: 3, event: { number: 3 } });
  });

  test("goes on after a restart", async () => {
    await (await opened()).append(events(1));
    await (await opened()).append(events(2));
    expect(verifyChain(await lines(FILE))).toMatchObject({ seq: 2 });
  });

  test("goes on into the next day's file, and after a restart from there", async () => {
    const journal = await opened();
    await journal.append(events(1));
    now = NEXT_DAY;
    await journal.append(events(2));
    await (await opened()).append(events(3));
    const all = [...(await lines(FILE)), ...(await lines("audit-2026-11-25-000000000002.ndjson"))];
    expect(all).toHaveLength(3);
    expect(verifyChain(all)).toMatchObject({ seq: 3 });
  });

  test("stays in the newest file when the clock goes back over midnight", async () => {
    now = NEXT_DAY;
    await (await opened()).append(events(1));
    now = DAY;
    await (await opened()).append(events(2));
    const file = "audit-2026-11-25-000000000001.ndjson";
    expect(await readdir(dir)).toEqual([file]);
    expect(verifyChain(await lines(file))).toMatchObject({ seq: 2 });
  });

  test("shows an altered, a removed and a swapped entry", async () => {
    await (await opened()).append(events(1, 2, 3));
    const [one = "", two = "", three = ""] = await lines(FILE);
    expect(() => verifyChain([one, two.replace('"number":2', '"number":9'), three])).toThrow("altered");
    expect(() => verifyChain([one, three])).toThrow("entry 3 does not follow entry 1");
    expect(() => verifyChain([two, one, three])).toThrow("does not follow");
  });

  test("keeps an event that holds a chain line's text apart from the line itself", async () => {
    const journal = await opened();
    const tricky = { text: '","hash":"x","event":{}}\n{"seq":9' };
    await journal.append({ events: [JSON.stringify(tricky)], rejects: [] });
    expect(verifyChain(await lines(FILE))).toMatchObject({ seq: 1 });
    expect(JSON.parse((await lines(FILE))[0] ?? "")).toMatchObject({ event: tricky });
  });

  test("has every event of many simultaneous batches, in order within each", async () => {
    const journal = await opened();
    await Promise.all(Array.from({ length: 200 }, (_, n) => journal.append(events(2 * n, 2 * n + 1))));
    const written = await lines(FILE);
    expect(written).toHaveLength(400);
    expect(verifyChain(written)).toMatchObject({ seq: 400 });
  });
});

describe("a crash", () => {
  test("leaves a torn last line, which goes to the quarantine, masked", async () => {
    await (await opened()).append(events(1, 2));
    await appendFile(join(dir, FILE), '{"seq":3,"prev":"","event":{"X-Amz-Signature":"s3cr3t');
    await (await opened()).append(events(3));
    expect(verifyChain(await lines(FILE))).toMatchObject({ seq: 3 });
    const [reject = ""] = await lines(QUARANTINE);
    expect(JSON.parse(reject)).toMatchObject({ reason: `torn end of ${FILE}` });
    expect(reject).not.toContain("s3cr3t");
  });

  test("may cut the line just before its end", async () => {
    await (await opened()).append(events(1, 2));
    const whole = await readFile(join(dir, FILE));
    await truncate(join(dir, FILE), whole.length - 1);
    // MinIO had no answer for it, so it comes again, and is no repeat.
    await (await opened()).append(events(2));
    expect(verifyChain(await lines(FILE))).toMatchObject({ seq: 2 });
  });

  test("may leave zeros, and more of them than one look back", async () => {
    await (await opened()).append(events(1));
    await appendFile(join(dir, FILE), Buffer.alloc(300_000));
    await (await opened()).append(events(2));
    expect(verifyChain(await lines(FILE))).toMatchObject({ seq: 2 });
  });

  test("may leave an empty new file, so the chain goes on from the day before", async () => {
    await (await opened()).append(events(1));
    const next = "audit-2026-11-25-000000000002.ndjson";
    await writeFile(join(dir, next), "");
    now = NEXT_DAY;
    await (await opened()).append(events(2));
    expect(verifyChain([...(await lines(FILE)), ...(await lines(next))])).toMatchObject({ seq: 2 });
  });

  test("in the quarantine file does not spoil the next line there", async () => {
    await writeFile(join(dir, QUARANTINE), '{"torn');
    await (await opened()).append({ events: [], rejects: [{ reason: "why", bytes: 1, text: "x" }] });
    expect(JSON.parse((await lines(QUARANTINE))[1] ?? "")).toMatchObject({ reason: "why" });
  });

  test("after an entry longer than one look back is no trouble", async () => {
    await (await opened()).append({ events: [JSON.stringify({ long: "x".repeat(1_000_000) })], rejects: [] });
    await (await opened()).append(events(2));
    expect(verifyChain(await lines(FILE))).toMatchObject({ seq: 2 });
  });
});

/** The prototype of Node's file handles, to make the disk fail by. */
async function handlePrototype(): Promise<FileHandle> {
  const handle = await open(dir);
  await handle.close();
  return Object.getPrototypeOf(handle);
}

describe("a failing disk", () => {
  test("refuses the batch, keeps nothing of it, and the chain goes on when it works again", async () => {
    const journal = await opened();
    await journal.append(events(1));
    const prototype = await handlePrototype();
    vi.spyOn(prototype, "datasync").mockRejectedValueOnce(new Error("ENOSPC: no space left on device"));
    await expect(journal.append(events(2, 3))).rejects.toThrow("ENOSPC");
    expect(await lines(FILE)).toHaveLength(1);
    await journal.append(events(4));
    expect(verifyChain(await lines(FILE))).toMatchObject({ seq: 2 });
  });

  test("is asked to sync before the batch is acknowledged, once for all that wait", async () => {
    const journal = await opened();
    const prototype = await handlePrototype();
    const sync = vi.spyOn(prototype, "datasync");
    await journal.append(events(0));
    expect(sync).toHaveBeenCalledTimes(1);
    await Promise.all(Array.from({ length: 50 }, (_, n) => journal.append(events(n))));
    expect(sync.mock.calls.length).toBeLessThanOrEqual(3);
  });
});

describe("files", () => {
  const ten = Array.from({ length: 10 }, (_, number) => number);

  test("are begun anew at a size, named by their first entry, in one chain, over a restart too", async () => {
    const options = { segmentBytes: 500 };
    const journal = await opened(options);
    for (const number of ten) await journal.append(events(number));
    await (await opened(options)).append(events(10, 11));
    const names = (await readdir(dir)).toSorted();
    expect(names).toHaveLength(4);
    for (const name of names) {
      const [first = ""] = await lines(name);
      expect(Number(name.slice(-19, -7))).toBe(JSON.parse(first).seq);
    }
    expect(verifyChain((await Promise.all(names.map(lines))).flat())).toEqual(
      expect.objectContaining({ seq: 12 }),
    );
  });

  test("past the days of retention go, and the chain says which and why", async () => {
    const retention = { days: 30, bytes: 1_000_000 };
    const journal = await opened({ retention });
    await journal.append({ ...events(1, 2), rejects: [{ reason: "why", bytes: 1, text: "x" }] });
    now = new Date("2026-12-24T12:00:00Z");
    await journal.append(events(3));
    expect(await readdir(dir)).toHaveLength(3);
    now = new Date("2026-12-25T12:00:00Z");
    await journal.append(events(4));
    await expect.poll(() => journal.counts().removed).toBe(1);
    // The quarantine's file is still the one that is written to.
    const names = (await readdir(dir)).filter((name) => name.startsWith("audit")).toSorted();
    expect(names).toEqual(["audit-2026-12-24-000000000003.ndjson", "audit-2026-12-25-000000000004.ndjson"]);
    expect(await verify(dir)).toMatchObject({ first: 3, entries: 3, faults: [] });
    const told = (await lines(names[1] ?? "")).find((line) => line.includes("geocrop:audit:retention"));
    expect(JSON.parse(told ?? "")).toMatchObject({
      event: { file: FILE, reason: "older than 30 days", last: { seq: 2 } },
    });
  });

  test("beyond the size of retention go, the oldest first, down to the one in use", async () => {
    const journal = await opened({ segmentBytes: 1_000, retention: { days: 30, bytes: 3_000 } });
    for (const number of Array.from({ length: 200 }, (_, n) => n)) await journal.append(events(number));
    await expect.poll(() => journal.counts().removed).toBeGreaterThan(10);
    const sizes = (await readdir(dir)).map((name) => statSync(join(dir, name)).size);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(5_000);
    expect((await verify(dir)).faults).toEqual([]);
  });

  test("are looked at at the start and by the clock as well, with no event coming", async () => {
    await (await opened()).append(events(1));
    now = NEXT_DAY;
    await (await opened()).append(events(2));
    now = new Date("2027-01-24T00:00:00Z");
    const journal = await opened({ retention: { days: 1, bytes: 1_000_000 }, sweepIntervalMs: 20 });
    expect(journal.counts().removed).toBe(1);
    expect(await readdir(dir)).not.toContain(FILE);
    now = new Date("2027-02-24T00:00:00Z");
    await expect.poll(() => journal.counts().removed).toBeGreaterThan(1);
    expect((await verify(dir)).faults).toEqual([]);
  });

  test("stay while the chain cannot tell of their end", async () => {
    await (await opened()).append(events(1));
    now = NEXT_DAY;
    await (await opened()).append(events(2));
    now = new Date("2027-01-24T00:00:00Z");
    const report = vi.fn<(message: string, error: unknown) => void>();
    vi.spyOn(await handlePrototype(), "datasync").mockRejectedValueOnce(new Error("ENOSPC"));
    const journal = await opened({ retention: { days: 1, bytes: 1_000_000 }, report });
    expect(report).toHaveBeenCalledOnce();
    expect(journal.counts().removed).toBe(0);
    expect((await verify(dir)).faults).toEqual([]);
  });
});

describe("an event that comes again", () => {
  test("is acknowledged and not stored, whether it was in the same batch, an earlier one or before a restart", async () => {
    const journal = await opened();
    await journal.append(events(1, 2, 1));
    await Promise.all([journal.append(events(2, 3)), journal.append(events(3))]);
    expect(journal.counts()).toMatchObject({ stored: 3, repeated: 3 });
    const restarted = await opened();
    await restarted.append(events(3, 1, 4));
    expect(restarted.counts()).toMatchObject({ stored: 1, repeated: 2 });
    expect(await lines(FILE)).toHaveLength(4);
  });

  test("is stored when its first coming failed", async () => {
    const journal = await opened();
    vi.spyOn(await handlePrototype(), "datasync").mockRejectedValueOnce(new Error("EIO"));
    await expect(journal.append(events(1))).rejects.toThrow("EIO");
    await journal.append(events(1));
    expect(journal.counts()).toMatchObject({ stored: 1, repeated: 0, failed: 1 });
  });

  test("is stored again once it is forgotten, for memory has a bound", async () => {
    const journal = await opened({ dedupCapacity: 2 });
    await journal.append(events(1, 2, 3));
    await journal.append(events(3, 1));
    expect(journal.counts()).toMatchObject({ stored: 4, repeated: 1 });
  });
});
