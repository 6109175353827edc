import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";

import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";

import { makeResult } from "../../sandbox/smoke-test/geotiff.ts";
import { runner } from "../../sandbox/run.ts";
import { cannotHave, ensureProgram } from "../support/debian.ts";
import { gatewayCannotRun } from "../support/download-gateway.ts";
import { type LiveDownloads, startLiveDownloads } from "../support/live-downloads.ts";

/**
 * A program that keeps a result open for longer than its URL lives. Nobody waits an hour here: the API is made to
 * sign as it would have signed nearly an hour ago. What it signs is real, and so is its end, by everybody's clock.
 */
const signing = vi.hoisted(() => ({ secondsLate: 0 }));
vi.mock(import("../../services/signed-url-api/signing/downloads.ts"), async (importOriginal) => {
  const { createDownloads, ...others } = await importOriginal();
  const now = (): number => Date.now() - signing.secondsLate * 1000;
  return { ...others, createDownloads: (options) => createDownloads({ ...options, now }) };
});

const lifeSeconds = 3600;
/** What is left of a URL's life when it is given. GDAL does not remember a redirect for less than 10 s. */
const leftSeconds = 14;

const program = "/usr/bin/gdallocationinfo";
const skipped = gatewayCannotRun ?? cannotHave(program);

describe.skipIf(skipped !== undefined)(
  `GDAL with a file that it keeps open${skipped === undefined ? "" : ` (skipped: ${skipped})`}`,
  () => {
    const run = runner(new AbortController().signal);
    let directory: string;
    let picture: string;
    let live: LiveDownloads;
    let environment: NodeJS.ProcessEnv;
    const opened: ChildProcess[] = [];

    beforeAll(async () => {
      await ensureProgram(program, "gdal-bin");
      directory = await mkdtemp(join(tmpdir(), "gdal-renewal-"));
      picture = join(directory, "picture.tif");
      // As large as it takes for each pixel below to be in a block of its own, hundreds of kilobytes from the next.
      const options = "-q -of COG -outsize 2400 2000 -co COMPRESS=NONE -co BLOCKSIZE=512";
      await run("gdal_translate", [...options.split(" "), await makeResult(run, directory), picture]);
      live = await startLiveDownloads();
      await live.submit("job-123", "alice", await readFile(picture));
      const headers = join(directory, "headers");
      await writeFile(headers, `Authorization: Bearer ${await live.token("alice")}\n`, { mode: 0o600 });
      environment = {
        PATH: process.env["PATH"],
        HOME: directory,
        GDAL_HTTP_HEADER_FILE: headers,
        GDAL_DISABLE_READDIR_ON_OPEN: "EMPTY_DIR",
        CURL_CA_BUNDLE: live.caFile,
        SSL_CERT_FILE: live.caFile,
      };
    });
    afterAll(async () => {
      await live.remove();
      await rm(directory, { recursive: true });
    });
    afterEach(async () => {
      signing.secondsLate = 0;
      for (const child of opened.splice(0)) {
        child.stdin?.end();
        if (child.exitCode === null) await once(child, "exit");
      }
    });

    const ask = `/api/v1/results/job-123/`;
    const issued = (): number => live.logs().match(/"URL issued"/g)?.length ?? 0;

    /** Keeps a file open, and tells the pixel of each line that it is given, or complains. */
    const open = (file: string, more: NodeJS.ProcessEnv = {}) => {
      const child = spawn("stdbuf", ["-oL", program, "-valonly", file], { env: { ...environment, ...more } });
      opened.push(child);
      let complaints = "";
      child.stderr.on("data", (chunk: Buffer) => (complaints += chunk.toString()));
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
      return {
        pixel: async (x: number, y: number): Promise<string | undefined> => {
          child.stdin.write(`${x} ${y}\n`);
          const line = await lines.next();
          return line.done === true ? undefined : line.value;
        },
        complaints: () => complaints,
      };
    };

    test("begins by HEAD, and transfers what it reads instead of the whole file", async () => {
      const before = (await live.gateway.accessLog()).length;
      const file = open(`/vsicurl/${live.origin}${ask}result.tif`);
      expect(await file.pixel(10, 10)).toBe(await open(picture).pixel(10, 10));
      const requests = await vi.waitFor(async () => {
        const seen = (await live.gateway.accessLog()).slice(before);
        expect(seen.at(-1)).toMatchObject({ method: "GET", status: "206" });
        return seen;
      });
      expect(requests[0]).toMatchObject({ method: "HEAD", status: "200" });
      const bytes = requests.reduce((sum, request) => sum + Number(request["bytes"]), 0);
      expect(bytes).toBeGreaterThan(0);
      expect(bytes).toBeLessThan((await stat(picture)).size / 4);
    });

    test("asks the API for another URL when its own has expired, and reads on", async () => {
      const local = open(picture);
      const url = async (expiresIn = lifeSeconds): Promise<string> => {
        const authorization = `Bearer ${await live.token("alice")}`;
        const { body } = await live.send(`${live.origin}${ask}download?expires_in=${expiresIn}`, {
          headers: { authorization },
        });
        return JSON.parse(body.toString()).url;
      };
      // The API has to have looked at the job before its clock is put back; a URL of another lifetime, since it caches them.
      await url(900);

      signing.secondsLate = lifeSeconds - leftSeconds;
      const expiry = Date.now() + leftSeconds * 1000;
      const byUrl = open(`/vsicurl/${await url()}`, { GDAL_HTTP_HEADER_FILE: undefined });
      const byApi = open(`/vsicurl/${live.origin}${ask}result.tif?expires_in=${lifeSeconds}`);
      expect(await byApi.pixel(10, 10)).toBe(await local.pixel(10, 10));
      const atOpening = issued();
      expect(await byApi.pixel(1200, 700)).toBe(await local.pixel(1200, 700));
      expect(await byUrl.pixel(10, 10)).toBe(await local.pixel(10, 10));
      signing.secondsLate = 0;
      expect(Date.now()).toBeLessThan(expiry);

      await delay(expiry + 1000 - Date.now());
      expect(issued()).toBe(atOpening);
      expect(await byApi.pixel(300, 1700)).toBe(await local.pixel(300, 1700));
      expect(issued()).toBe(atOpening + 1);
      expect(await byApi.pixel(2200, 1700)).toBe(await local.pixel(2200, 1700));
      expect(issued()).toBe(atOpening + 1);
      // Who has nothing but the URL reads nothing any more: it was its end that was survived.
      void byUrl.pixel(300, 1700);
      await vi.waitFor(() => expect(byUrl.complaints()).toContain("got 0 bytes"), 10_000);
      expect((await live.gateway.accessLog()).at(-1)).toMatchObject({ method: "GET", status: "403" });
    });
  },
);
