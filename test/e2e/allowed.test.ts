import { readFile, rm } from "node:fs/promises";
import type { Server } from "node:https";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";

import { CoreV1Api } from "@kubernetes/client-node";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { readSecretValue } from "../../tools/kube/dev-cluster.ts";
import { httpsRequest } from "../../tools/https-request.ts";
import { submitJob } from "../../tools/jobs/job.ts";
import { mintToken } from "../../tools/jobs/token.ts";
import { openPage, pageScript, servePage, startBrowser } from "../support/browser.ts";
import { freePort, writeCertificate } from "../support/minio-server.ts";
import { snippet } from "../support/snippets.ts";
import { bringUp } from "./bring-up.ts";
import { layout, stackAt, type Place, type StackUnderTest } from "./stacks.ts";
import { removeNamespaces, sandboxCluster } from "./live.ts";
import { type Prometheus, startPrometheus } from "./prometheus-pod.ts";

/** Who may come in only where the settings name them: a namespace's Prometheus, and pages of a web origin. */
const place: Place = {
  namespace: "geocrop-e2e-allowed",
  folder: join(layout.data, "e2e/allowed"),
  apiPort: 30483,
  downloadPort: 30484,
  tunnelPort: 19014,
};
const { namespace } = place;
const monitoring = "geocrop-e2e-prometheus";
const elsewhere = "geocrop-e2e-prometheus-elsewhere";
const core = () => sandboxCluster().makeApiClient(CoreV1Api);
const picture = Buffer.alloc(100_000, "pixel");

let stack: StackUnderTest;
let ca: string;
let browser: Browser;
let pages: Server;
let allowedPage: string;
let otherPage: string;
let prometheus: Prometheus;
let stranger: Prometheus;

beforeAll(async () => {
  process.env["KUBECONFIG"] = layout.kubeconfig;
  await bringUp();
  stack = stackAt(place);
  await removeNamespaces(namespace, monitoring, elsewhere);
  await rm(place.folder, { recursive: true, force: true });
  await stack.up();
  ca = await readSecretValue(sandboxCluster(), namespace, "geocrop-api-tls", "ca.crt");
  await submitJob(sandboxCluster(), namespace, {
    job: "job-123",
    owner: "alice",
    bytes: picture.length,
    content: () => Readable.from([picture]),
  });

  for (const name of [monitoring, elsewhere]) await core().createNamespace({ body: { metadata: { name } } });
  prometheus = await startPrometheus(monitoring, namespace);
  stranger = await startPrometheus(elsewhere, namespace);

  await writeCertificate(place.folder);
  const [cert, key] = await Promise.all(
    ["tls.crt", "tls.key"].map((name) => readFile(join(place.folder, name))),
  );
  const port = await freePort();
  pages = await servePage({ cert, key }, port);
  allowedPage = `https://127.0.0.1:${port}`;
  otherPage = `https://localhost:${port}`;
  browser = await startBrowser();
});

afterAll(async () => {
  await browser.close();
  pages.close().closeAllConnections();
  await removeNamespaces(namespace, monitoring, elsewhere);
});

const token = (): Promise<string> => mintToken(sandboxCluster(), namespace, "alice", 600);

/** What the API answers alice. */
async function ask(job: string): Promise<{ status: number; url?: string }> {
  const headers = { authorization: `Bearer ${await token()}` };
  const address = `${stack.apiUrl}/api/v1/results/${job}/download`;
  const { status, body } = await httpsRequest(address, { ca, headers });
  return { status, ...JSON.parse(body.toString("utf8")) };
}

const script = async (more = ""): Promise<string> => pageScript(stack.apiUrl, await token(), more);

/** What the browser says when a page asks the API, and reads a URL that it has been given. */
async function saidTo(origin: string): Promise<readonly string[]> {
  const { url } = await ask("job-123");
  const { page, said, close } = await openPage(browser, origin);
  const read = `fetch(${JSON.stringify(url)}, { headers: { Range: "bytes=0-15" } }).then(({ status }) => console.log(status))`;
  for (const text of [await script(), read]) await page.evaluate(text).catch(() => undefined);
  await close();
  return said.filter((line) => !line.includes("Failed to load resource"));
}

/** That it kept both from the page. */
const keptFrom = (origin: string) =>
  [stack.apiUrl, stack.downloadUrl].map((url) =>
    expect.stringMatching(
      `^error Access to fetch at '${url}/.*' from origin '${origin}' has been blocked by CORS policy`,
    ),
  );

/** Where the API tells its metrics, once the pod of a former roll-out, which answers while it ends, is gone. */
async function metricsAddress(): Promise<string> {
  const labelSelector = "app.kubernetes.io/component=signed-url-api";
  const pods = async () => (await core().listNamespacedPod({ namespace, labelSelector })).items;
  await expect.poll(pods, patience).toHaveLength(1);
  return `${(await pods())[0]?.status?.podIP}:9100`;
}

const values = async (from: Prometheus, query: string): Promise<number[]> =>
  (await from.query(query)).map(({ value }) => Number(value[1]));

/** Prometheus looks for pods every 30 s. */
const patience = { timeout: 90_000, interval: 1000 };

/** How Prometheus fares with each pod of the API, and with each target of its two jobs. */
async function fares(from: Prometheus): Promise<{ up: string[]; targets: string[] }> {
  const up = await from.query('up{job="geocrop-api"}');
  const targets = await from.targets();
  return {
    up: up.map(({ metric, value }) => `${metric["instance"]} ${value[1]}`),
    targets: targets
      .map(({ labels, health, lastError }) => `${labels["job"]} ${health} ${lastError}`)
      .toSorted(),
  };
}
const shutOut = (address: string) => ({
  up: [`${address} 0`],
  targets: ["geocrop-api", "wrong-authority"].map((job) =>
    expect.stringMatching(`^${job} down Get "https:.*: context deadline exceeded$`),
  ),
});

describe("a stack that names nobody", () => {
  test("is silent to every Prometheus", async () => {
    const address = await metricsAddress();
    for (const one of [prometheus, stranger]) {
      await expect.poll(() => fares(one), patience).toEqual(shutOut(address));
    }
  });

  test("lets no web page read the API's answers or a download", async () => {
    for (const page of [allowedPage, otherPage]) expect(await saidTo(page)).toEqual(keptFrom(page));
  });
});

describe("a stack that names a namespace and a web origin", () => {
  beforeAll(async () => {
    await stack.up({ monitoring: { namespace: monitoring }, allowedOrigins: [allowedPage] });
  });

  test("is read by that namespace's Prometheus, which knows it by the stack's authority", async () => {
    const address = await metricsAddress();
    await expect
      .poll(() => fares(prometheus), patience)
      .toEqual({
        up: [`${address} 1`],
        targets: [
          "geocrop-api up ",
          expect.stringMatching(/^wrong-authority down .*: x509: certificate signed by unknown authority/),
        ],
      });
  });

  test("stays silent to the Prometheus of another namespace", async () => {
    const address = await metricsAddress();
    await expect.poll(() => fares(stranger), patience).toEqual(shutOut(address));
  });

  test("counts each URL that it hands out, and answers the page's questions", async () => {
    const issued = "sum(geocrop_api_urls_issued_total)";
    const [before = Number.NaN] = await values(prometheus, issued);
    const { url = "" } = await ask("job-123");
    const download = await httpsRequest(url, { ca });
    expect(download.body.equals(picture)).toBe(true);
    await expect.poll(() => values(prometheus, issued), patience).toEqual([before + 1]);

    // A rate needs two values of each series: these reads are counted apart from the first.
    for (const job of ["none-1", "none-2"]) {
      expect((await ask(job)).status).toBe(404);
      await pause(4000);
    }
    await ask("job-123");
    const questions = (await snippet("monitoring.md", "promql")).split("\n\n");
    expect(questions.length).toBeGreaterThan(4);
    for (const question of questions) {
      await expect
        .poll(async () => (await values(prometheus, question)).some((value) => value > 0), {
          ...patience,
          message: question,
        })
        .toBe(true);
    }
  });

  test("has alerts that tell a Prometheus that is answered from one that is not", async () => {
    const alerts = await prometheus.alerts();
    expect(Object.keys(alerts).length).toBeGreaterThan(3);
    expect(alerts).toMatchObject({ GeocropApiDown: "inactive", GeocropApiErrors: "inactive" });
    expect(await stranger.alerts()).toMatchObject({
      GeocropApiDown: expect.stringMatching("pending|firing"),
    });
  });

  test("lets a page of that origin ask, and read the download by range", async () => {
    const { page, said, asked, close } = await openPage(browser, allowedPage);
    // What the browser must ask for beforehand: a condition, which is more than a simple range.
    const more = `
      const again = await fetch(url, { headers: { "If-None-Match": head.headers.get("ETag") } });
      const bytes = (await head.arrayBuffer()).byteLength;
      return { ...Object.fromEntries(head.headers), bytes, again: again.status };`;
    const result = await page.evaluate(await script(more));
    expect(result).toMatchObject({
      bytes: 16,
      again: 304,
      "content-range": `bytes 0-15/${picture.length}`,
      "content-disposition": expect.stringContaining("job-123.tif"),
      etag: expect.stringMatching(/^"[0-9a-f]{32}"$/),
      "last-modified": expect.stringContaining("GMT"),
    });
    expect(said).toContain(`log job-123.tif ${picture.length} 206 bytes 0-15/${picture.length}`);
    // A simple range needs no preflight; a token and a condition do.
    const calls = asked.map(({ method, url }) => `${method} ${new URL(url).origin}`);
    expect(calls.filter((call) => !call.endsWith(allowedPage)).toSorted()).toEqual([
      `GET ${stack.apiUrl}`,
      `GET ${stack.downloadUrl}`,
      `GET ${stack.downloadUrl}`,
      `OPTIONS ${stack.apiUrl}`,
      `OPTIONS ${stack.downloadUrl}`,
    ]);
    await close();
  });

  test("lets a page of another origin read neither", async () => {
    expect(await saidTo(otherPage)).toEqual(keptFrom(otherPage));
  });
});
