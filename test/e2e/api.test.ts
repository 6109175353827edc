import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";

import { CoreV1Api } from "@kubernetes/client-node";
import { afterAll, beforeAll, expect, test } from "vitest";

import { readSecretValue } from "../../tools/kube/dev-cluster.ts";
import { makeResult } from "../../sandbox/smoke-test/geotiff.ts";
import { httpsRequest } from "../../tools/https-request.ts";
import { submitJob } from "../../tools/jobs/job.ts";
import { mintToken } from "../../tools/jobs/token.ts";
import { bringUp } from "./bring-up.ts";
import { command, layout, run } from "./stacks.ts";
import { inPod, sandboxCluster } from "./live.ts";
import { canConnect } from "./network-probe.ts";

/** What of the API shows on the live stack only. */
const namespace = "geocrop";
const api = "https://10.213.77.2:30443";
const job = `job-api-${Date.now()}`;

let directory: string;
let ca: string;
let picture: Buffer;

beforeAll(async () => {
  process.env["KUBECONFIG"] = layout.kubeconfig;
  await bringUp();
  directory = await mkdtemp(join(tmpdir(), "api-e2e-"));
  picture = await readFile(await makeResult(run, directory));
  ca = await readSecretValue(sandboxCluster(), namespace, "geocrop-api-tls", "ca.crt");
  await writeFile(join(directory, "ca.crt"), ca);
  await submitJob(sandboxCluster(), namespace, {
    job,
    owner: "alice",
    bytes: picture.length,
    content: () => Readable.from([picture]),
  });
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const authorization = async (): Promise<string> =>
  `Bearer ${await mintToken(sandboxCluster(), namespace, "alice", 600)}`;

test("GDAL opens the API's own address, with its token in a file", async () => {
  const headers = join(directory, "headers");
  await writeFile(headers, `Authorization: ${await authorization()}\n`, { mode: 0o600 });
  const authority = join(directory, "ca.crt");
  const { stdout } = await promisify(execFile)(
    "gdalinfo",
    ["-checksum", `/vsicurl/${api}/api/v1/results/${job}/result.tif`],
    {
      env: {
        ...process.env,
        GDAL_HTTP_HEADER_FILE: headers,
        GDAL_DISABLE_READDIR_ON_OPEN: "EMPTY_DIR",
        CURL_CA_BUNDLE: authority,
        SSL_CERT_FILE: authority,
      },
    },
  );
  expect(stdout).toContain("Size is 600, 500");
});

test("a URL asked again is the same, and no web page may read it unless its origin is configured", async () => {
  const headers = { authorization: await authorization() };
  const ask = async (): Promise<{ url: string }> =>
    JSON.parse(
      (await httpsRequest(`${api}/api/v1/results/${job}/download`, { ca, headers })).body.toString(),
    );
  const first = await ask();
  const again = await ask();
  // Unless a window ended just between the two.
  expect([first.url, (await ask()).url]).toContain(again.url);
  const answer = await httpsRequest(first.url, { ca, headers: { origin: "https://evil.test" } });
  expect(answer.status).toBe(200);
  expect(Object.keys(answer.headers).filter((name) => name.startsWith("access-control-"))).toEqual([]);
});

test("npm run audit tells who was given the URL, when, and each use of it", async () => {
  let output = "";
  for (let tries = 0; tries < 20 && !/206 {2}GetObject.* for alice by /.test(output); tries += 1) {
    await pause(500);
    ({ output } = await command(process.execPath, ["tools/audit/audit.ts", "--job", job]).done);
  }
  const issuance = new RegExp(`URL {2}([\\w-]{22}) {2}${job} {2}given to alice {2}from`).exec(output)?.[1];
  expect(issuance).toBeDefined();
  expect(output).toMatch(new RegExp(`206 {2}GetObject .*${job}/result\\.tif .* for alice by ${issuance}`));
});

test("the metrics are there, and on no way but the one that is configured", async () => {
  const { items } = await sandboxCluster()
    .makeApiClient(CoreV1Api)
    .listNamespacedPod({ namespace, labelSelector: "app.kubernetes.io/component=signed-url-api" });
  const script = `require("node:https").get("https://localhost:9100/metrics",{rejectUnauthorized:false},(r)=>r.pipe(process.stdout))`;
  const metrics = await inPod(namespace, items[0]?.metadata?.name ?? "", "signed-url-api", [
    "node",
    "-e",
    script,
  ]);
  expect(metrics).toMatch(/^geocrop_api_urls_issued_total [1-9]/m);
  const service = `geocrop-api-metrics.${namespace}.svc.cluster.local`;
  expect(await canConnect(sandboxCluster(), namespace, { app: "geocrop-worker" }, service, 9100)).toBe(false);
  expect(await canConnect(sandboxCluster(), "default", { app: "prometheus" }, service, 9100)).toBe(false);
  expect((await httpsRequest(`${api}/metrics`, { ca })).status).toBe(404);
});
