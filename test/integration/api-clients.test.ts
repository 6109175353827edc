import { execFile, execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import type { Server } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { gatewayCannotRun } from "../support/download-gateway.ts";
import { makeResult } from "../../sandbox/smoke-test/geotiff.ts";
import { runner } from "../../sandbox/run.ts";
import { browserCannotRun, openPage, pageScript, servePage, startBrowser } from "../support/browser.ts";
import { startLiveApi, type LiveApi } from "../support/live-api.ts";
import { startLiveDownloads } from "../support/live-downloads.ts";
import { freePort } from "../support/minio-server.ts";
import { snippet as snippetOf } from "../support/snippets.ts";

/** The snippets of docs/api.md, run as they stand against the API and a real MinIO. */
const run = promisify(execFile);
const snippet = (info: string): Promise<string> => snippetOf("api.md", info);

const without = (command: string): string | undefined => {
  try {
    execFileSync("which", [command]);
    return undefined;
  } catch {
    return `needs ${command}`;
  }
};
const because = (missing: string | undefined): string =>
  missing === undefined ? "" : ` (skipped: ${missing})`;

const noGdal = without("gdalinfo");
let live: LiveApi;
let picture: Buffer;
let directory: string;
let environment: NodeJS.ProcessEnv;
let pageOrigin: string;
const sha256 = async (name: string): Promise<string> =>
  createHash("sha256")
    .update(await readFile(join(directory, name)))
    .digest("hex");
const expected = (): string => createHash("sha256").update(picture).digest("hex");

beforeAll(async () => {
  pageOrigin = `https://127.0.0.1:${await freePort()}`;
  const settings = { CORS_ORIGINS: pageOrigin };
  // The gateway is between users and MinIO, as in the cluster: GDAL's token must end there.
  live =
    gatewayCannotRun === undefined
      ? await startLiveDownloads(settings, [pageOrigin])
      : await startLiveApi(settings);
  const scratch = await mkdtemp(join(tmpdir(), "api-clients-"));
  picture =
    noGdal === undefined
      ? await readFile(await makeResult(runner(new AbortController().signal), scratch))
      : randomBytes(100_000);
  await rm(scratch, { recursive: true });
  await live.submit("job-123", "alice", picture);
  await live.submit("job-124", "alice");
});
afterAll(() => live.remove());
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "api-clients-"));
  environment = {
    PATH: process.env["PATH"],
    HOME: directory,
    GEOCROP_API_URL: live.origin,
    GEOCROP_CA_FILE: live.caFile,
    GEOCROP_TOKEN: await live.token("alice"),
  };
  return async () => rm(directory, { recursive: true });
});

const sh = async (script: string): Promise<{ stdout: string; stderr: string }> =>
  run("bash", ["-eu", "-c", script], { cwd: directory, env: environment });

const noCurl = without("curl");
test.skipIf(noCurl !== undefined)(`curl, with and without the redirect${because(noCurl)}`, async () => {
  await sh(await snippet("sh curl"));
  expect(await sha256("job-123.tif")).toBe(expected());
  expect(await sha256("again.tif")).toBe(expected());
});

const noPython = without("python3");
test.skipIf(noPython !== undefined)(`Python, a batch${because(noPython)}`, async () => {
  await writeFile(join(directory, "download.py"), await snippet("python"));
  const { stdout } = await sh("python3 download.py");
  expect(stdout).toMatch(new RegExp(`^job-123 ${picture.length} bytes, URL good until 20`, "m"));
  expect(stdout).toContain("job-124 The job has no result yet");
  expect(await sha256("job-123.tif")).toBe(expected());
});

const noGdalThere = noGdal ?? gatewayCannotRun;
describe.skipIf(noGdalThere !== undefined)(`GDAL${because(noGdalThere)}`, () => {
  test("opens the API's own address, and reads by range", async () => {
    const { stdout } = await sh(await snippet("sh gdal"));
    expect(stdout).toContain("Size is 600, 500");
    expect(stdout).toMatch(/Checksum=\d+/);
    expect((await run("gdalinfo", [join(directory, "corner.tif")])).stdout).toContain("Size is 100, 100");
  });

  test("asks the API once for many ranges, since it knows when the URL will expire", async () => {
    const issued = (): number => live.logs().match(/"URL issued"/g)?.length ?? 0;
    const before = issued();
    const { stderr } = await sh(
      `export CPL_CURL_VERBOSE=YES CPL_VSIL_CURL_CHUNK_SIZE=16384; ${(await snippet("sh gdal")).replace(/^gdal_translate.*$/m, "")}`,
    );
    expect(stderr.match(/^> ?range: bytes=|^range: bytes=/gim)?.length ?? 0).toBeGreaterThanOrEqual(2);
    expect(issued() - before).toBeLessThanOrEqual(3);
  });
});

describe.skipIf(browserCannotRun !== undefined)(`a browser${because(browserCannotRun)}`, () => {
  let browser: Browser;
  let pages: Server;

  beforeAll(async () => {
    browser = await startBrowser();
    pages = await servePage(live.tls, Number(new URL(pageOrigin).port));
  });
  afterAll(async () => {
    await browser.close();
    pages.close().closeAllConnections();
  });

  const script = async (): Promise<string> => pageScript(live.origin, await live.token("alice"));

  test("on a page of an allowed origin reads the result by range", async () => {
    const { page, said, close } = await openPage(browser, pageOrigin);
    await page.evaluate(await script());
    expect(said).toContain(`log job-123.tif ${picture.length} 206 bytes 0-15/${picture.length}`);
    await close();
  });

  test("on a page of another origin reads nothing", async () => {
    const { page, close } = await openPage(browser, pageOrigin.replace("127.0.0.1", "localhost"));
    await expect(page.evaluate(await script())).rejects.toThrow("Failed to fetch");
    await close();
  });

  test("shows the API's page for people, without a request to anybody else and without a complaint", async () => {
    const { page, said, asked, close } = await openPage(browser, `${live.origin}/docs`);
    expect(await page.title()).toBe("geocrop results");
    expect(await page.locator("h2").allTextContents()).toEqual([
      "GET/api/v1/results/{job_id}/download",
      "GET/api/v1/results/{job_id}/result.tif",
      "POST/api/v1/results/download",
    ]);
    // The style is applied, in spite of the policy.
    const family = await page.evaluate("getComputedStyle(document.body).fontFamily");
    expect(family).toContain("system-ui");
    const urls = asked.map(({ url }) => url);
    expect(urls.filter((url) => !url.endsWith("/favicon.ico"))).toEqual([`${live.origin}/docs`]);
    expect(said.filter((line) => !line.includes("favicon"))).toEqual([]);
    if (process.env["GEOCROP_SCREENSHOT"] !== undefined)
      await page.screenshot({ path: process.env["GEOCROP_SCREENSHOT"], fullPage: true });
    await close();
  });
});
