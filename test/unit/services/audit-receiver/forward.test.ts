import { mkdtemp, readdir, rm, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { link } from "../../../../services/audit-receiver/chain.ts";
import { startForwarding } from "../../../../services/audit-receiver/forward.ts";
import { type Journal, openJournal } from "../../../../services/audit-receiver/journal.ts";
import { verify } from "../../../../services/audit-receiver/audit-log-reader.ts";

let dir: string;
let journal: Journal;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "audit-forward-"));
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

const files = async (): Promise<string[]> =>
  (await readdir(dir)).filter((name) => name.startsWith("audit")).toSorted();

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

/** An index that takes all, unless told otherwise. */
function start(options: { readonly format?: "ndjson" | "loki"; readonly fail?: () => boolean } = {}) {
  const bodies: string[] = [];
  const report = vi.fn<(message: string, error?: unknown) => void>();
  const stop = startForwarding({
    dir,
    format: options.format ?? "ndjson",
    durable: () => journal.lastSeq(),
    intervalMs: 10,
    report,
    send: (body) => {
      if (options.fail?.() === true) return Promise.reject(new Error("index answered 500"));
      bodies.push(body);
      return Promise.resolve();
    },
  });
  const sequence = (): number[] =>
    bodies
      .join("")
      .split("\n")
      .filter((line) => line !== "")
      .map((line): number => JSON.parse(line).seq);
  return { bodies, report, stop, sequence };
}

describe("forwarding", () => {
  let next = 0;
  const append = async (count: number): Promise<void> => {
    const events = Array.from({ length: count }, () => event(`jobs/f${(next += 1)}/result.tif`));
    for (const one of events) await journal.append({ events: [one], rejects: [] });
  };

  test("sends each entry once, in order, over several files, and goes on after a restart", async () => {
    await append(30);
    const first = start();
    await expect.poll(first.sequence).toEqual(upTo(30));
    await append(5);
    await expect.poll(first.sequence).toEqual(upTo(35));
    await first.stop();
    await append(5);
    const second = start();
    await expect.poll(second.sequence).toEqual([36, 37, 38, 39, 40]);
    await second.stop();
  });

  test("builds the index anew when its cursor is deleted", async () => {
    await append(10);
    const first = start();
    await expect.poll(first.sequence).toEqual(upTo(10));
    await first.stop();
    await unlink(join(dir, "forward.json"));
    const second = start();
    await expect.poll(second.sequence).toEqual(upTo(10));
    await second.stop();
  });

  test("waits while the index is away, says so once, and loses nothing", async () => {
    let away = true;
    const { sequence, report, stop } = start({ fail: () => away });
    await append(12);
    await expect.poll(() => report.mock.calls.length).toBe(1);
    away = false;
    await expect.poll(sequence).toEqual(upTo(12));
    expect(report.mock.calls.map(([message]) => message)).toEqual([
      "the index does not take entries; they wait in the audit log",
      "the index takes entries again",
    ]);
    await stop();
  });

  test("sends nothing that is not yet surely on the disk", async () => {
    await append(2);
    const { sequence, stop } = start();
    await expect.poll(sequence).toEqual(upTo(2));
    const [file = ""] = await files();
    const { line } = link(event("jobs/later/result.tif"), (await verify(dir)).last);
    await writeFile(join(dir, file), `${line}\n`, { flag: "a" });
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(sequence()).toEqual(upTo(2));
    await stop();
  });

  test("speaks Loki's form as well", async () => {
    await append(1);
    const { bodies, stop } = start({ format: "loki" });
    await expect.poll(() => bodies.length).toBe(1);
    expect(JSON.parse(bodies[0] ?? "")).toMatchObject({
      streams: [
        {
          stream: { job: "geocrop-audit" },
          values: [["1795500863837702077", expect.stringContaining('"seq":1')]],
        },
      ],
    });
    await stop();
  });
});
