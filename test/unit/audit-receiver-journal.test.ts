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
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { verifyChain } from "../../services/audit-receiver/chain.ts";
import { type Journal, openJournal } from "../../services/audit-receiver/journal.ts";

const DAY = new Date("2026-11-24T23:59:59.999Z");
const NEXT_DAY = new Date("2026-11-25T00:00:00.000Z");
const FILE = "audit-2026-11-24.ndjson";
const QUARANTINE = "quarantine-2026-11-24.ndjson";

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

async function opened(): Promise<Journal> {
  const journal = await openJournal(dir, () => now);
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
    const all = [...(await lines(FILE)), ...(await lines("audit-2026-11-25.ndjson"))];
    expect(all).toHaveLength(3);
    expect(verifyChain(all)).toMatchObject({ seq: 3 });
  });

  test("stays in the newest file when the clock goes back over midnight", async () => {
    now = NEXT_DAY;
    await (await opened()).append(events(1));
    now = DAY;
    await (await opened()).append(events(2));
    expect(await readdir(dir)).toEqual(["audit-2026-11-25.ndjson"]);
    expect(verifyChain(await lines("audit-2026-11-25.ndjson"))).toMatchObject({ seq: 2 });
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
    await writeFile(join(dir, "audit-2026-11-25.ndjson"), "");
    now = NEXT_DAY;
    await (await opened()).append(events(2));
    expect(verifyChain([...(await lines(FILE)), ...(await lines("audit-2026-11-25.ndjson"))])).toMatchObject({
      seq: 2,
    });
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
