import { spawn } from "node:child_process";
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { connect, type SecureVersion } from "node:tls";

import { exportJWK, generateKeyPair, SignJWT, type CryptoKey } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { apiSignerPolicy, jobSubmitterPolicy, workerPolicy } from "../../components/access/iam-policies.ts";
import { ensureBuilds } from "../../sandbox/cluster/builds.ts";
import { layoutOf } from "../../sandbox/layout.ts";
import { runner } from "../../sandbox/run.ts";
import { bundle, type Service } from "../../services/bundle.ts";
import { put } from "../../services/job-client/put.ts";
import { HttpsClient, type HttpsResponse } from "../../services/common/https-client.ts";
import { createPresigner, type SignedRequest } from "../../services/signed-url-api/signing/presign.ts";
import { startServer, type Server } from "../../services/signed-url-api/server.ts";
import { readSettings } from "../../services/signed-url-api/settings.ts";
import {
  freePort,
  startMinio,
  writeCertificate,
  type MinioServer,
  type User,
} from "../support/minio-server.ts";

/** The API and the job client against a real MinIO with the identities and policies of the stack. */
const bucket = "geocrop-results";
const issuer = "https://issuer.test";
const audience = "geocrop-api";
const signer = { accessKey: "api-signer-1", secretKey: randomUUID() };
const worker = { accessKey: "worker-1", secretKey: randomUUID() };
const submitter = { accessKey: "job-submitter-1", secretKey: randomUUID() };
const picture = randomBytes(300_000);
const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

let minio: MinioServer;
let api: Server;
let directory: string;
let agent: Agent;
let issuerKey: CryptoKey;
const cleanups: (() => Promise<unknown>)[] = [];

const client = new HttpsClient();
/** A GET as a client would do it, the answer whole. */
const fetchUrl = (url: string, headers: Record<string, string> = {}): Promise<HttpsResponse> =>
  client.send(url, { headers, maxBytes: 1_000_000, timeoutMs: 15_000 });

async function token(subject: string): Promise<string> {
  return new SignJWT({})
    .setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid: "k" })
    .setIssuer(issuer)
    .setAudience(audience)
    .setSubject(subject)
    .setExpirationTime("5m")
    .sign(issuerKey);
}

const head = async (url: string): Promise<IncomingMessage> => {
  const sent = request(url, { method: "HEAD", agent }).end();
  const [answer] = await once(sent, "response");
  return answer.resume();
};

const ask = async (jobId: string, subject: string, query = "", port = api.port): Promise<HttpsResponse> =>
  fetchUrl(`https://127.0.0.1:${port}/api/v1/results/${jobId}/download${query}`, {
    authorization: `Bearer ${await token(subject)}`,
  });

const json = (answer: HttpsResponse): Record<string, unknown> => {
  const value: unknown = JSON.parse(answer.body?.toString() ?? "");
  return Object.fromEntries(Object.entries(Object(value)));
};

async function issuedUrl(jobId: string, subject: string): Promise<URL> {
  const answer = await ask(jobId, subject);
  expect(answer.status).toBe(200);
  return new URL(String(json(answer)["url"]));
}

/** A URL that the signer's key could sign, whether the API would or not. */
const sign = (more: Partial<SignedRequest> = {}): string =>
  createPresigner(
    minio.origin,
    "us-east-1",
    () => signer,
  )({
    path: `/${bucket}/jobs/job-123/result.tif`,
    expiresIn: 900,
    now: new Date(),
    ...more,
  }).url;

const silence = { write: () => undefined };

const minutesAgo = (minutes: number): Date => new Date(Date.now() - minutes * 60_000);

const putAs = (user: User, key: string, content: string | Buffer) =>
  put(
    minio.client(user),
    { bucket, key, bytes: Buffer.byteLength(content), contentType: "image/tiff" },
    Readable.from([Buffer.from(content)]),
  );

const submit = (jobId: string, owner: string, sharedWith?: string[]) =>
  putAs(
    submitter,
    `jobs/${jobId}/job.json`,
    JSON.stringify({ job_id: jobId, owner, shared_with: sharedWith }),
  );

beforeAll(async () => {
  const step = { note: () => undefined, doing: () => undefined };
  const binaries = await ensureBuilds(layoutOf(), runner(new AbortController().signal), step);
  minio = await startMinio({ minio: join(binaries.minio, "minio"), mc: join(binaries.mc, "mc") });
  cleanups.push(minio.remove);
  await minio.mc("mb", `t/${bucket}`);
  await minio.mc("version", "enable", `t/${bucket}`);
  await minio.addUser(signer, apiSignerPolicy(bucket));
  await minio.addUser(worker, workerPolicy(["geocrop-baselines"], bucket));
  await minio.addUser(submitter, jobSubmitterPolicy(bucket));

  directory = await mkdtemp(join(tmpdir(), "signed-url-api-"));
  cleanups.push(() => rm(directory, { recursive: true }));
  await writeCertificate(directory);
  await writeFile(join(directory, "access-key"), `${signer.accessKey}\n`);
  await writeFile(join(directory, "secret-key"), signer.secretKey);
  await rotateIssuerKey();
  await trustApi();
  api = await startServer(readSettings(environment()), silence);
  cleanups.push(() => api.stop(0));

  await submit("job-123", "alice", ["carol"]);
  await putAs(worker, "jobs/job-123/result.tif", picture);
});

afterAll(async () => {
  for (const clean of cleanups.toReversed()) await clean();
});

async function rotateIssuerKey(): Promise<void> {
  const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
  issuerKey = privateKey;
  const keys = [{ ...(await exportJWK(publicKey)), kid: "k", alg: "ES256" }];
  await writeFile(join(directory, "jwks.json"), JSON.stringify({ keys }));
}

async function trustApi(): Promise<void> {
  const ca = Buffer.concat([minio.ca, await readFile(join(directory, "tls.crt"))]);
  agent = new Agent({ ca });
  client.trust(ca);
}

describe("the owner's URL", () => {
  test("gives the very bytes, and the API told their size and etag", async () => {
    const answer = await ask("job-123", "alice", "?expires_in=3600");
    const { url, size, etag, content_type: type, expires_at: expiresAt } = json(answer);
    const download = await fetchUrl(String(url));
    expect(download.status).toBe(200);
    expect(sha256(download.body ?? Buffer.alloc(0))).toBe(sha256(picture));
    expect(size).toBe(picture.length);
    expect(etag).toBe(download.headers.etag);
    expect(type).toBe("image/tiff");
    const minutes = (Date.parse(String(expiresAt)) - Date.now()) / 60_000;
    expect(minutes).toBeGreaterThan(59);
    expect(minutes).toBeLessThanOrEqual(60);
  });

  test("serves ranges, as GDAL asks for them", async () => {
    const url = await issuedUrl("job-123", "alice");
    const answer = await fetchUrl(url.href, { range: "bytes=1000-1999" });
    expect(answer.status).toBe(206);
    expect(answer.body).toEqual(picture.subarray(1000, 2000));
  });

  test("is the same when asked again, and another for who shares the job", async () => {
    // At 3600 s the window is one second, so this is asked for with the default.
    const [first, again, shared] = [
      await issuedUrl("job-123", "alice"),
      await issuedUrl("job-123", "alice"),
      await issuedUrl("job-123", "carol"),
    ];
    expect(again.href).toBe(first.href);
    for (const name of ["x-geocrop-issuance", "x-geocrop-subject"])
      expect(shared.searchParams.get(name)).not.toBe(first.searchParams.get(name));
    for (const url of [first, shared]) expect((await fetchUrl(url.href)).status).toBe(200);
  });

  test("has a twin for HEAD, and each is refused for the other's method", async () => {
    const { url, head_url: headUrl } = json(await ask("job-123", "alice"));
    expect((await head(String(headUrl))).statusCode).toBe(200);
    expect((await head(String(headUrl))).headers["content-length"]).toBe(String(picture.length));
    expect((await head(String(url))).statusCode).toBe(403);
    expect((await fetchUrl(String(headUrl))).status).toBe(403);
  });

  test("makes storage name the file as asked, whatever was asked", async () => {
    const name = encodeURIComponent('../Fläche "7"\r\nSet-Cookie: a=b.tif');
    const answer = json(await ask("job-123", "alice", `?filename=${name}`));
    expect(answer["filename"]).toBe("_Fläche _7___Set-Cookie_ a=b.tif");
    const { headers } = await fetchUrl(String(answer["url"]));
    expect(headers["content-disposition"]).toBe(
      `attachment; filename="_Fl_che _7___Set-Cookie_ a=b.tif"; filename*=UTF-8''_Fl%C3%A4che%20_7___Set-Cookie_%20a%3Db.tif`,
    );
    expect(headers["set-cookie"]).toBeUndefined();
  });

  test("is reached through the address that ends in .tif as well", async () => {
    const answer = await fetchUrl(`https://127.0.0.1:${api.port}/api/v1/results/job-123/result.tif`, {
      authorization: `Bearer ${await token("alice")}`,
    });
    expect(answer.status).toBe(302);
    expect((await fetchUrl(String(answer.headers.location))).body).toEqual(picture);
  });

  test("is refused with any parameter changed, dropped or added, or for another object", async () => {
    await submit("job-124", "bob");
    await putAs(worker, "jobs/job-124/result.tif", "bob's");
    const url = await issuedUrl("job-123", "alice");
    const names = [...url.searchParams.keys()];
    expect(names).toContain("x-geocrop-issuance");
    expect(names).toContain("x-geocrop-subject");

    const changed = names.map((name) => {
      const copy = new URL(url);
      const value = copy.searchParams.get(name) ?? "";
      copy.searchParams.set(name, value.slice(0, -1) + (value.endsWith("0") ? "1" : "0"));
      return copy;
    });
    const dropped = names.map((name) => {
      const copy = new URL(url);
      copy.searchParams.delete(name);
      return copy;
    });
    const added = new URL(url);
    added.searchParams.set("response-content-disposition", "attachment");
    const elsewhere = ["job-123/job.json", "job-124/result.tif"].map((key) => {
      const copy = new URL(url);
      copy.pathname = `/${bucket}/jobs/${key}`;
      return copy;
    });
    for (const bad of [...changed, ...dropped, added, ...elsewhere]) {
      const { status } = await fetchUrl(bad.href);
      expect([bad.href, status]).toEqual([
        bad.href,
        expect.toSatisfy((code) => code === 403 || code === 400),
      ]);
    }
    // A signature with one wrong character is no malformed request but a forbidden one.
    expect((await fetchUrl(changed.at(names.indexOf("X-Amz-Signature"))?.href ?? "")).status).toBe(403);
    expect((await fetchUrl(changed.at(names.indexOf("x-geocrop-subject"))?.href ?? "")).status).toBe(403);
    expect((await fetchUrl(url.href)).status).toBe(200);
  });
});

describe("without a good URL", () => {
  test("the plain address is refused", async () => {
    expect((await fetchUrl(`${minio.origin}/${bucket}/jobs/job-123/result.tif`)).status).toBe(403);
  });

  test("an expired one is refused, one about to expire is not", async () => {
    expect((await fetchUrl(sign({ now: new Date(Date.now() - 905_000) }))).status).toBe(403);
    expect((await fetchUrl(sign({ now: new Date(Date.now() - 880_000) }))).status).toBe(200);
  });

  test("one signed for a week is refused after an hour", async () => {
    const week = 7 * 86_400;
    expect((await fetchUrl(sign({ now: minutesAgo(59), expiresIn: week }))).status).toBe(200);
    expect((await fetchUrl(sign({ now: minutesAgo(61), expiresIn: week }))).status).toBe(403);
  });

  test("parameter names that sort before = are signed as storage sorts them", async () => {
    expect((await fetchUrl(sign({ query: { a: "1", "a-b": " é+/~*'()!" } }))).status).toBe(200);
  });

  test("the signer's key does nothing but query-signed GETs of jobs", async () => {
    const client = minio.client(signer);
    const key = "jobs/job-123/result.tif";
    await expect(client.getObject(bucket, key)).rejects.toThrow("Access Denied");
    await expect(client.statObject(bucket, key)).rejects.toMatchObject({ code: "AccessDenied" });
    await expect(putAs(signer, key, "mine")).rejects.toThrow("Access Denied");
    await expect(client.removeObject(bucket, key)).rejects.toThrow("Access Denied");
    await expect(client.listObjectsV2(bucket).toArray()).rejects.toThrow("Access Denied");
    expect(
      (await fetchUrl(await client.presignedUrl("GET", bucket, "", 900, { "list-type": "2" }))).status,
    ).toBe(403);
    expect((await fetchUrl(sign({ path: `/${bucket}/other/result.tif` }))).status).toBe(403);
  });
});

describe("jobs that aren't one's own", () => {
  test("answer as absent ones do", async () => {
    await submit("running", "alice");
    const absent = await ask("no-such-job", "bob");
    expect(absent.status).toBe(404);
    for (const jobId of ["job-123", "running"]) {
      const answer = await ask(jobId, "bob");
      expect(answer.status).toBe(404);
      expect(answer.body).toEqual(absent.body);
    }
  });

  test("a manifest that is copied from another job or deleted opens nothing", async () => {
    await putAs(submitter, "jobs/stolen/job.json", JSON.stringify({ job_id: "job-123", owner: "bob" }));
    expect((await ask("stolen", "bob")).status).toBe(404);
    await submit("gone", "alice");
    await putAs(worker, "jobs/gone/result.tif", "x");
    await minio.mc("rm", `t/${bucket}/jobs/gone/job.json`);
    expect((await ask("gone", "alice")).status).toBe(404);
  });
});

test("a job without a result is 409 for its owner, until there is one, and when it is deleted", async () => {
  await submit("later", "alice");
  expect((await ask("later", "alice")).status).toBe(409);
  await putAs(worker, "jobs/later/result.tif", "II*");
  expect((await ask("later", "alice")).status).toBe(200);
  await submit("removed", "alice");
  await putAs(worker, "jobs/removed/result.tif", "II*");
  await minio.mc("rm", `t/${bucket}/jobs/removed/result.tif`);
  expect((await ask("removed", "alice")).status).toBe(409);
});

test("paths as they come over the wire: nothing but an id is one", async () => {
  const statuses = ["..", "%2e%2e", "job-123%2f..%2fjob-124", "job-123/../job-124", "job%2d123"].map(
    async (jobId) =>
      new Promise((resolve, reject) => {
        const path = `/api/v1/results/${jobId}/download`;
        request({ host: "127.0.0.1", port: api.port, path, agent }, (response) => {
          response.resume();
          resolve(response.statusCode);
        })
          .on("error", reject)
          .end();
      }),
  );
  expect(await Promise.all(statuses)).toEqual([400, 400, 400, 404, 400]);
});

describe("the job client", () => {
  test("tells etag and version of what it stored", async () => {
    const stored = await putAs(worker, "jobs/versions/result.tif", "abc");
    expect(stored).toMatchObject({ bucket, key: "jobs/versions/result.tif", bytes: 3 });
    expect(stored.etag).toBe(createHash("md5").update("abc").digest("hex"));
    expect(stored.version_id).toMatch(/^[0-9a-f-]{36}$/);
    const empty = await putAs(worker, "jobs/versions/empty", "");
    expect(empty.bytes).toBe(0);
  });

  test("leaves nothing of an input that ends early", async () => {
    const upload = { bucket, key: "jobs/short/result.tif", bytes: 10, contentType: "image/tiff" };
    const short = put(minio.client(worker), upload, Readable.from([Buffer.from("abc")]));
    await expect(short).rejects.toThrow("input ended early: 7 of 10 bytes missing");
    await submit("short", "alice");
    expect((await ask("short", "alice")).status).toBe(409);
  });

  test("as worker writes no manifest, as submitter no result", async () => {
    await expect(putAs(worker, "jobs/job-123/job.json", "{}")).rejects.toThrow("Access Denied");
    await expect(putAs(submitter, "jobs/job-123/result.tif", "x")).rejects.toThrow("Access Denied");
  });
});

/** Speaks one version of TLS to the API, and tells the serial number of its certificate. */
const handshake = (version: SecureVersion): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect({
      host: "127.0.0.1",
      port: api.port,
      ca: agent.options.ca,
      minVersion: version,
      maxVersion: version,
      ciphers: "DEFAULT@SECLEVEL=0",
    });
    socket.on("secureConnect", () => {
      resolve(socket.getPeerCertificate().serialNumber);
      socket.destroy();
    });
    socket.on("error", reject);
  });

describe("TLS", () => {
  test("1.2 and 1.3 are spoken, 1.1 is not", async () => {
    await handshake("TLSv1.2");
    await handshake("TLSv1.3");
    await expect(handshake("TLSv1.1")).rejects.toThrow(/protocol version/i);
  });

  test("a renewed certificate is served, half of one is not", async () => {
    const before = await handshake("TLSv1.3");
    const [certificate, key] = [join(directory, "tls.crt"), join(directory, "tls.key")];
    const old = await readFile(certificate);
    await writeCertificate(directory);
    const renewed = await readFile(certificate);
    await writeFile(certificate, old);
    await api.refresh();
    expect(await handshake("TLSv1.3")).toBe(before);
    await writeFile(certificate, renewed);
    await trustApi();
    await api.refresh();
    expect(await handshake("TLSv1.3")).not.toBe(before);
    expect((await readFile(key)).length).toBeGreaterThan(0);
    expect((await ask("job-123", "alice")).status).toBe(200);
  });
});

test("a rotated signing key is used at once; URLs of the former one live on until that is removed", async () => {
  const former = await issuedUrl("job-123", "alice");
  const next = { accessKey: "api-signer-2", secretKey: randomUUID() };
  await minio.addUser(next, apiSignerPolicy(bucket));
  await writeFile(join(directory, "access-key"), next.accessKey);
  await writeFile(join(directory, "secret-key"), next.secretKey);
  await api.refresh();
  const url = await issuedUrl("job-123", "alice");
  expect(url.searchParams.get("X-Amz-Credential")).toMatch(/^api-signer-2\//);
  expect((await fetchUrl(url.href)).status).toBe(200);
  expect((await fetchUrl(former.href)).status).toBe(200);
  await minio.mc("admin", "user", "disable", "t", signer.accessKey);
  expect((await fetchUrl(former.href)).status).toBe(403);
});

test("a key that storage refuses is an outage, not an absent job", async () => {
  const good = await readFile(join(directory, "secret-key"));
  await writeFile(join(directory, "secret-key"), "wrong");
  await api.refresh();
  expect((await ask("job-123", "alice")).status).toBe(503);
  await writeFile(join(directory, "secret-key"), good);
  await api.refresh();
  expect((await ask("job-123", "alice")).status).toBe(200);
});

test("the issuer's new keys are taken, the old ones dropped", async () => {
  const old = await token("alice");
  await rotateIssuerKey();
  await api.refresh();
  const url = `https://127.0.0.1:${api.port}/api/v1/results/job-123/download`;
  expect((await fetchUrl(url, { authorization: `Bearer ${old}` })).status).toBe(401);
  expect((await ask("job-123", "alice")).status).toBe(200);
});

test("storage that is down is 503 for whom memory doesn't let in, and the API recovers with it", async () => {
  expect((await ask("job-123", "alice")).status).toBe(200);
  await minio.stop();
  try {
    expect((await ask("job-123", "alice")).status).toBe(200);
    expect((await ask("job-123", "bob")).status).toBe(503);
    expect((await ask("job-124", "bob")).status).toBe(503);
    expect((await fetchUrl(`https://127.0.0.1:${api.port}/readyz`)).status).toBe(200);
  } finally {
    await minio.start();
  }
  expect((await ask("job-124", "bob")).status).toBe(200);
});

const environment = (): Record<string, string> => ({
  PORT: "0",
  METRICS_PORT: "0",
  RATE_PER_SUBJECT: "1000000",
  RATE_PER_ADDRESS: "1000000",
  TLS_DIR: directory,
  CREDENTIALS_DIR: directory,
  S3_ENDPOINT: minio.origin,
  S3_CA_FILE: minio.caFile,
  DOWNLOAD_URL: minio.origin,
  JWT_ISSUER: issuer,
  JWT_AUDIENCE: audience,
  JWKS_FILE: join(directory, "jwks.json"),
});

test("storage whose certificate is not of the configured authority is not trusted", async () => {
  const other = await mkdtemp(join(tmpdir(), "other-ca-"));
  await writeCertificate(other);
  const doubtful = await startServer(
    readSettings({ ...environment(), S3_CA_FILE: join(other, "tls.crt") }),
    silence,
  );
  try {
    expect((await ask("job-123", "alice", "", doubtful.port)).status).toBe(503);
  } finally {
    await doubtful.stop(0);
    await rm(other, { recursive: true });
  }
});

/** Bundles a program and runs it. */
const start = async (service: Service, env: Record<string, string>, ...args: string[]) => {
  const file = join(directory, `${service}.mjs`);
  await bundle(service, file);
  return spawn(process.execPath, [file, ...args], { env, stdio: ["pipe", "pipe", "inherit"] });
};

describe("as the images run them", () => {
  test("the API serves until it is out of the Service, loses no request, and ends by itself", async () => {
    const port = await freePort();
    const child = await start("signed-url-api", { ...environment(), PORT: String(port) });
    const exited = once(child, "exit");
    const log: string[] = [];
    child.stdout.on("data", (chunk: Buffer) => log.push(chunk.toString()));
    const status = async (path: string): Promise<number | undefined> =>
      (await fetchUrl(`https://127.0.0.1:${port}${path}`).catch(() => undefined))?.status;
    await expect.poll(() => status("/readyz"), { timeout: 15_000 }).toBe(200);

    child.kill("SIGTERM");
    await expect.poll(() => status("/readyz")).toBe(503);
    const statuses: number[] = [];
    const began = Date.now();
    while (Date.now() - began < 3000) statuses.push((await ask("job-123", "alice", "", port)).status);
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(await status("/healthz")).toBe(200);
    expect(await exited).toEqual([0, null]);
    expect(log.join("")).toContain('"URL issued"');
    expect(log.join("")).not.toContain("X-Amz-");
  });

  test.each([
    ["a newly signed one", 0],
    ["a cached one", 1],
  ])("the API hands out no URL that it can't log, and ends: %s", async (_what, asked) => {
    const port = await freePort();
    const child = await start("signed-url-api", { ...environment(), PORT: String(port) });
    const exited = once(child, "exit");
    const status = () =>
      ask("job-123", "alice", "", port).then(
        (answer) => answer.status,
        () => "none",
      );
    const readiness = () => fetchUrl(`https://127.0.0.1:${port}/readyz`).catch(() => undefined);
    await expect.poll(async () => (await readiness())?.status, { timeout: 15_000 }).toBe(200);
    for (let count = 0; count < asked; count += 1) expect(await status()).toBe(200);

    child.stdout.destroy();
    expect(await status()).toBe("none");
    expect(await exited).toEqual([1, null]);
  });

  test("the API tells what is wrong with its environment", async () => {
    const child = spawn(process.execPath, [join(directory, "signed-url-api.mjs")], { env: { PORT: "x" } });
    const output: string[] = [];
    child.stderr.on("data", (chunk: Buffer) => output.push(chunk.toString()));
    expect(await once(child, "close")).toEqual([1, null]);
    expect(output.join("")).toContain('PORT is "x": must be a whole number');
  });

  test("the job client stores from an input that stays open", async () => {
    const credentials = await mkdtemp(join(directory, "worker-"));
    await writeFile(join(credentials, "access-key"), worker.accessKey);
    await writeFile(join(credentials, "secret-key"), worker.secretKey);
    const env = { S3_ENDPOINT: minio.origin, S3_CA_FILE: minio.caFile, CREDENTIALS_DIR: credentials };
    const key = "jobs/exec/result.tif";
    const child = await start(
      "job-put",
      env,
      "--bucket",
      bucket,
      "--key",
      key,
      "--bytes",
      String(picture.length),
    );
    child.stdin.write(picture);
    const [line] = await once(child.stdout, "data");
    expect(JSON.parse(String(line))).toMatchObject({ bucket, key, bytes: picture.length });
    expect(await once(child, "exit")).toEqual([0, null]);
    await submit("exec", "alice");
    const download = await fetchUrl((await issuedUrl("exec", "alice")).href);
    expect(sha256(download.body ?? Buffer.alloc(0))).toBe(sha256(picture));
  });

  test("the idling job client ends on SIGTERM", async () => {
    const child = await start("job-idle", {});
    await once(child.stdout, "data");
    child.kill("SIGTERM");
    expect(await once(child, "exit")).toEqual([0, null]);
  });
});
