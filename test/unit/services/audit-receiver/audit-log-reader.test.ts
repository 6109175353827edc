import { mkdtemp, readdir, readFile, rm, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { entryLine, sinceTime } from "../../../../tools/audit/audit.ts";
import { type Journal, openJournal } from "../../../../services/audit-receiver/journal.ts";
import {
  type Entry,
  entries,
  type Filter,
  parseAnchor,
  verify,
} from "../../../../services/audit-receiver/audit-log-reader.ts";

let dir: string;
let journal: Journal;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "audit-log-reader-"));
  journal = await openJournal(dir, { segmentBytes: 2_000 });
});

afterEach(async () => {
  await journal.close();
  await rm(dir, { recursive: true });
});

/** An event as MinIO writes it. */
function event(object: string, more: Record<string, unknown> = {}): string {
  return JSON.stringify({
    version: "1",
    time: "2026-11-24T06:14:23.837702077Z",
    api: { name: "GetObject", bucket: "geocrop-results", object, statusCode: 200, rx: 0, tx: 501 },
    remotehost: "192.0.2.1",
    requestID: object,
    requestQuery: { "X-Amz-Credential": "api-signer-1", "x-geocrop-subject": "alice-pseudonym" },
    ...more,
  });
}

async function found(filter: Filter): Promise<string[]> {
  const objects: string[] = [];
  for await (const { object } of entries(dir, filter)) objects.push(object);
  return objects;
}

const files = async (): Promise<string[]> =>
  (await readdir(dir)).filter((name) => name.startsWith("audit")).toSorted();

describe("entries", () => {
  beforeEach(async () => {
    await journal.append({
      events: [
        event("jobs/a/result.tif"),
        event("jobs/ab/result.tif", { time: "2026-11-24T07:00:00Z" }),
        event("jobs/a/job.json", { accessKey: "submitter", requestQuery: {} }),
        event("model", { api: { name: "PutObject", bucket: "geocrop-models", object: "model" } }),
        JSON.stringify({ version: "1", event: "heal" }),
      ],
      rejects: [],
    });
  });

  test.each<[string, Filter, string[]]>([
    ["a job, and not one whose name begins like it", { job: "a" }, ["jobs/a/result.tif", "jobs/a/job.json"]],
    ["a bucket", { bucket: "geocrop-models" }, ["model"]],
    ["a user by pseudonym", { users: ["alice-pseudonym"], job: "ab" }, ["jobs/ab/result.tif"]],
    ["a key", { users: ["submitter"] }, ["jobs/a/job.json"]],
    ["a time", { since: "2026-11-24T06:30:00Z" }, ["jobs/ab/result.tif"]],
    ["nothing that is there", { bucket: "geocrop-results", users: ["nobody"] }, []],
  ])("of %s", async (_, filter, objects) => {
    expect(await found(filter)).toEqual(objects);
  });

  test("tell what is asked of them, and stay short whatever a client wrote", async () => {
    await journal.append({ events: [event("x".repeat(9_000))], rejects: [] });
    const all: Entry[] = [];
    for await (const entry of entries(dir, {})) all.push(entry);
    expect(all).toHaveLength(6);
    expect(all[0]).toMatchObject({
      seq: 1,
      name: "GetObject",
      statusCode: 200,
      accessKey: "api-signer-1",
      subject: "alice-pseudonym",
    });
    expect(all[4]).toMatchObject({ name: "heal", bucket: "" });
    expect(all[5]?.object).toHaveLength(1_024);
  });
});

describe("the check of the chain", () => {
  beforeEach(async () => {
    for (let number = 0; number < 20; number += 1) {
      await journal.append({ events: [event(`jobs/${number}/result.tif`)], rejects: [] });
    }
  });

  test("finds nothing wrong in what is whole, and tells its end", async () => {
    const verdict = await verify(dir);
    expect(verdict).toMatchObject({ entries: 20, first: 1, last: { seq: 20 }, faults: [] });
    expect(verdict.files).toBeGreaterThan(3);
  });

  test("takes no character that a client wrote for a line's end", async () => {
    const text = "a\u2028b\u2029c\u0085d\u000be\rf\ng";
    await journal.append({ events: [event(text), event(`${text}${"x".repeat(200_000)}`)], rejects: [] });
    expect(await verify(dir)).toMatchObject({ entries: 22, faults: [] });
  });

  test("finds an altered entry, and a file torn out of the middle", async () => {
    const [, second = "", third = ""] = await files();
    const text = await readFile(join(dir, second), "utf8");
    await writeFile(join(dir, second), text.replace("192.0.2.1", "192.0.2.2"));
    expect((await verify(dir)).faults[0]).toMatch(/^audit-.*: the entry after number \d+ was altered/);
    await writeFile(join(dir, second), text);
    await unlink(join(dir, third));
    expect((await verify(dir)).faults).toEqual([expect.stringMatching(/does not follow entry/)]);
  });

  test("finds a beginning torn off that no retention took away", async () => {
    const [first = ""] = await files();
    await unlink(join(dir, first));
    expect((await verify(dir)).faults).toEqual([expect.stringMatching(/are gone, and no retention/)]);
  });

  test("finds an end torn off, and a trail written anew, by an entry that was noted", async () => {
    const { last } = await verify(dir);
    expect((await verify(dir, last)).faults).toEqual([]);
    expect((await verify(dir, { ...last, hash: "0".repeat(64) })).faults).toEqual([
      expect.stringMatching(/rewritten/),
    ]);
    await unlink(join(dir, (await files()).at(-1) ?? ""));
    expect((await verify(dir)).faults).toEqual([]);
    expect((await verify(dir, last)).faults).toEqual([expect.stringMatching(/before the noted entry 20/)]);
  });

  test("takes a noted entry in the form that it tells", () => {
    expect(parseAnchor(`12:${"a".repeat(64)}`)).toEqual({ seq: 12, hash: "a".repeat(64) });
    expect(() => parseAnchor("12")).toThrow("give <number>:<hash>");
  });
});

describe("npm run audit", () => {
  const now = Date.parse("2026-11-24T12:00:00Z");

  test.each([
    ["30m", "2026-11-24T11:30:00.000Z"],
    ["12h", "2026-11-24T00:00:00.000Z"],
    ["7d", "2026-11-17T12:00:00.000Z"],
    ["2026-11-24", "2026-11-24T00:00:00.000Z"],
    ["2026-11-24T06:00:00Z", "2026-11-24T06:00:00.000Z"],
  ])("takes --since %s as %s", (text, time) => {
    expect(sinceTime(text, now)).toBe(time);
  });

  test.each(["", "yesterday", "1w", "24/11/2026", "2026-13-01"])("refuses --since %j", (text) => {
    expect(() => sinceTime(text, now)).toThrow("is not a valid time: write");
  });

  test("prints nothing that a client wrote to steer a terminal by", async () => {
    await journal.append({ events: [event("jobs/a/\u001b]0;owned\u0007\u202egpj.tif")], rejects: [] });
    for await (const entry of entries(dir, {})) {
      expect(entryLine(entry)).toBe(
        "2026-11-24T06:14:23Z  200  GetObject  geocrop-results/jobs/a/?]0;owned??gpj.tif  " +
          "api-signer-1 for alice-pseudonym  from 192.0.2.1 501 B",
      );
    }
  });
});
