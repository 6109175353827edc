import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { KubeConfig } from "@kubernetes/client-node";

import { createPresigner } from "../../services/signed-url-api/signing/presign.ts";
import { readSecretValue } from "../../tools/kube/dev-cluster.ts";
import { makeResult } from "./geotiff.ts";
import { httpsRequest, type Answer } from "../../tools/https-request.ts";
import { submitJob } from "../../tools/jobs/job.ts";
import type { Step } from "../progress.ts";
import type { Run } from "../run.ts";
import { mintToken } from "../../tools/jobs/token.ts";

/** The stack under test, as its users see it. */
export interface SmokeTestTarget {
  readonly cluster: KubeConfig;
  readonly namespace: string;
  readonly apiUrl: string;
  readonly downloadUrl: string;
  /** PEM file of the authority that vouches for both. */
  readonly caFile: string;
  /** For the made-up result. */
  readonly scratch: string;
}

/** What the smoke test proved. */
export interface SmokeTestResult {
  readonly job: string;
  readonly bytes: number;
  readonly sha256: string;
  /** Range requests by which GDAL read the file over the network. */
  readonly rangeRequests: number;
}

const owner = "alice";
const stranger = "bob";

/** How long new keys and policies may take to reach every part, in milliseconds. */
const propagationTimeoutMs = 30_000;

/**
 * The smoke test: uploads a real result from inside the cluster, downloads it from outside through the URL that its
 * owner gets, and checks that everybody else is refused.
 *
 * @throws Error naming the first expectation that does not hold; no token or signature is in it.
 */
export async function runSmokeTest(
  target: SmokeTestTarget,
  run: Run,
  step: Pick<Step, "note" | "doing">,
  job = "job-123",
): Promise<SmokeTestResult> {
  const { cluster, namespace, apiUrl, downloadUrl, caFile } = target;
  const ca = await readFile(caFile, "utf8");
  const call = (url: string, headers: Record<string, string> = {}): Promise<Answer> =>
    httpsRequest(url, { ca, headers });
  const askFor = async (subject: string): Promise<Answer> =>
    call(`${apiUrl}/api/v1/results/${job}/download`, {
      authorization: `Bearer ${await mintToken(cluster, namespace, subject, 600)}`,
    });

  step.doing("making a Cloud Optimized GeoTIFF");
  const file = await makeResult(run, target.scratch);
  const { size } = await stat(file);
  const sha256 = createHash("sha256")
    .update(await readFile(file))
    .digest("hex");

  step.doing("putting the job's manifest and result in place");
  await submitJob(cluster, namespace, { job, owner, bytes: size, content: () => createReadStream(file) });
  step.note(`${owner}'s result of ${size} bytes is in geocrop-results/jobs/${job}/result.tif`);

  step.doing("asking for a download URL");
  const given = await retryUntil(() => askFor(owner), 200);
  expectStatus("the owner asks for a URL", given, 200);
  const url = signedUrl(given);
  const download = await call(url);
  expectStatus("the owner downloads", download, 200);
  const downloaded = createHash("sha256").update(download.body).digest("hex");
  if (downloaded !== sha256)
    throw new Error(`The downloaded file differs: SHA-256 ${downloaded}, not ${sha256}.`);
  step.note(`downloaded through the gateway, SHA-256 ${downloaded} matches`);

  step.doing("reading it with GDAL, range by range");
  const rangeRequests = await readWithGdal(run, url, target);
  step.note(`gdalinfo read it through /vsicurl/ with ${rangeRequests} range requests`);

  step.doing("checking what must be refused");
  const plain = url.slice(0, url.indexOf("?"));
  expectStatus("another user asks for the owner's result", await askFor(stranger), 404);
  expectStatus("a client without a token asks", await call(`${apiUrl}/api/v1/results/${job}/download`), 401);
  expectStatus("a URL with one character of its signature changed", await call(tampered(url)), 403);
  expectStatus("the object's plain address", await call(plain), 403);
  expectStatus("an expired URL", await call(await expiredUrl(cluster, namespace, downloadUrl, job)), 403);
  step.note(
    "refused as expected: another user 404, no token 401, changed signature, plain address and expired URL 403",
  );
  return { job, bytes: size, sha256, rangeRequests };
}

/** Retries while a part that has just been deployed is not ready. */
async function retryUntil(ask: () => Promise<Answer>, status: number): Promise<Answer> {
  const deadline = Date.now() + propagationTimeoutMs;
  let answer = await ask();
  while (answer.status !== status && Date.now() < deadline) {
    await sleep(500);
    answer = await ask();
  }
  return answer;
}

function expectStatus(what: string, answer: Answer, status: number): void {
  if (answer.status === status) return;
  throw new Error(`${what}: expected status ${status}, got ${answer.status}.`);
}

function signedUrl(answer: Answer): string {
  const body: unknown = JSON.parse(answer.body.toString("utf8"));
  if (typeof body === "object" && body !== null && "url" in body && typeof body.url === "string")
    return body.url;
  throw new Error("The API's answer to the owner holds no URL.");
}

/** The last character of the signature becomes another hexadecimal digit. */
function tampered(url: string): string {
  return url.replace(
    /(X-Amz-Signature=[0-9a-f]{63})([0-9a-f])/,
    (_, kept: string, last: string) => kept + (last === "0" ? "1" : "0"),
  );
}

/**
 * Nobody waits 15 minutes here: the URL is signed with the API's own key as it would have been 20 minutes ago,
 * for 15.
 */
async function expiredUrl(
  cluster: KubeConfig,
  namespace: string,
  downloadUrl: string,
  job: string,
): Promise<string> {
  const [accessKey, secretKey] = await Promise.all(
    ["access-key", "secret-key"].map((key) =>
      readSecretValue(cluster, namespace, "credentials-api-signer", key),
    ),
  );
  if (accessKey === undefined || secretKey === undefined) throw new Error("The API has no credentials.");
  const sign = createPresigner(downloadUrl, "us-east-1", () => ({ accessKey, secretKey }));
  return sign({
    path: `/geocrop-results/jobs/${job}/result.tif`,
    expiresIn: 900,
    now: new Date(Date.now() - 20 * 60 * 1000),
    query: { "x-geocrop-issuance": randomUUID() },
  }).url;
}

/**
 * `gdalinfo /vsicurl/<url>`. The URL is a credential and a process's arguments are everybody's to read, so it
 * goes by GDAL's own option file.
 *
 * @returns how many range requests GDAL made.
 */
async function readWithGdal(run: Run, url: string, target: SmokeTestTarget): Promise<number> {
  const options = join(target.scratch, "gdal-options");
  await writeFile(options, `"/vsicurl/${url}"\n`, { mode: 0o600 });
  try {
    const { stdout, stderr } = await run("gdalinfo", ["--optfile", options, "-checksum"], {
      env: {
        SSL_CERT_FILE: target.caFile,
        CURL_CA_BUNDLE: target.caFile,
        CPL_CURL_VERBOSE: "YES",
        GDAL_PAM_ENABLED: "NO",
        GDAL_DISABLE_READDIR_ON_OPEN: "EMPTY_DIR",
      },
    });
    if (
      !/Size is 600, 500/.test(stdout) ||
      !/Overviews:/.test(stdout) ||
      !/ID\["EPSG",32736\]/.test(stdout)
    ) {
      throw new Error("gdalinfo did not see the result's size, overviews and coordinate system.");
    }
    const ranges = stderr.match(/^> ?range: bytes=|^range: bytes=/gim)?.length ?? 0;
    if (ranges === 0) throw new Error("gdalinfo read the result without a single range request.");
    return ranges;
  } catch (error) {
    // What GDAL says of a failure holds the URL: its cause is not passed on.
    const said =
      error instanceof Error ? error.message.replaceAll(/\?X-Amz[^\s"'>]*|\?x-geocrop[^\s"'>]*/g, "?…") : "";
    // oxlint-disable-next-line preserve-caught-error
    throw new Error(`gdalinfo could not read the result by its URL: ${said}`);
  } finally {
    await rm(options, { force: true });
  }
}
