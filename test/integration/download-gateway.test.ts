import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connect, type SecureVersion } from "node:tls";
import { Client } from "minio";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { apiSignerPolicy } from "../../components/access/iam-policies.ts";
import { ensureBuilds } from "../../sandbox/cluster/builds.ts";
import { ensureBase } from "../../sandbox/cluster/images/bases.ts";
import { layoutOf } from "../../sandbox/layout.ts";
import { runner } from "../../sandbox/run.ts";
import { createPresigner } from "../../services/signed-url-api/signing/presign.ts";
import {
  type Answer,
  type Gateway,
  gatewayCannotRun as skipped,
  type GatewayOptions,
  renewCertificate,
  send as sendTo,
  type Sent,
  startGateway as start,
} from "../support/download-gateway.ts";
import { freePort, type MinioServer, startMinio, writeCertificate } from "../support/minio-server.ts";

const bucket = "geocrop-results";
const path = `/${bucket}/jobs/job-123/result.tif`;
const picture = randomBytes(3_000_000);
/** More than the buffers between nginx and a client hold, so that a download which is not read stays under way. */
const scene = { path: `/${bucket}/jobs/job-123/scene.tif`, bytes: 64_000_000 };
const signer = { accessKey: "api-signer-1", secretKey: randomUUID() };

describe.skipIf(skipped !== undefined)(
  `the download gateway${skipped === undefined ? "" : `: ${skipped}`}`,
  () => {
    let minio: MinioServer;
    let base: string;
    /** What is signed for, whichever gateway then gets the request. */
    let origin: string;
    let gateway: Gateway;
    const cleanups: (() => Promise<unknown>)[] = [];

    beforeAll(async () => {
      const layout = layoutOf();
      const run = runner(new AbortController().signal);
      const binaries = await ensureBuilds(layout, run, { note: () => undefined, doing: () => undefined });
      base = await ensureBase("nginx", { cacheDir: layout.cache, run });
      minio = await startMinio({ minio: join(binaries.minio, "minio"), mc: join(binaries.mc, "mc") });
      cleanups.push(minio.remove);
      await minio.mc("mb", `t/${bucket}`);
      await minio.addUser(signer, apiSignerPolicy(bucket));
      const file = join(await mkdtemp(join(tmpdir(), "gateway-object-")), "result.tif");
      cleanups.push(() => rm(join(file, ".."), { recursive: true }));
      await writeFile(file, picture);
      await minio.mc("cp", file, `t${path}`);
      await minio.mc("cp", file, `t/${bucket}/jobs/job-123/a b (é).tif`);
      await minio.mc("cp", file, `t/${bucket}/private.tif`);
      await writeFile(file, Buffer.alloc(scene.bytes));
      await minio.mc("cp", file, `t${scene.path}`);
      const port = await freePort();
      origin = `https://localhost:${port}`;
      gateway = await startGateway({ port });
    });

    afterAll(async () => {
      for (const cleanup of cleanups.toReversed()) await cleanup();
    });

    /** Starts nginx before the test's MinIO, unless told otherwise. */
    async function startGateway(options: Partial<GatewayOptions> = {}): Promise<Gateway> {
      const upstream = `localhost:${new URL(minio.origin).port}`;
      const started = await start({ base, ca: minio.ca, upstream, bucket, ...options });
      cleanups.push(started.remove);
      return started;
    }

    /** The path and query of a URL signed for the gateway's address. */
    function signed(more: Partial<Parameters<ReturnType<typeof createPresigner>>[0]> = {}): string {
      const { url } = createPresigner(
        origin,
        "us-east-1",
        () => signer,
      )({
        path,
        expiresIn: 900,
        now: new Date(),
        ...more,
      });
      return url.slice(origin.length);
    }

    /** One request. Its Host is the main gateway's, for that is what is signed. */
    async function send(
      target: string,
      { via = gateway, headers, ...sent }: Sent & { readonly via?: Gateway } = {},
    ): Promise<Answer> {
      return sendTo(via, target, { ...sent, headers: { host: new URL(origin).host, ...headers } });
    }

    test("passes a signed download, whole and byte for byte", async () => {
      const answer = await send(signed());
      expect(answer.status).toBe(200);
      expect(answer.body.equals(picture)).toBe(true);
      expect(answer.headers["etag"]).toMatch(/^"[0-9a-f]{32}"$/);
      expect(answer.headers).toMatchObject({
        "content-length": String(picture.length),
        "strict-transport-security": "max-age=63072000",
        "referrer-policy": "no-referrer",
        server: "nginx",
      });
    });

    test("passes HEAD, Range, and If-None-Match", async () => {
      const { hostname, port } = new URL(origin);
      const client = new Client({ endPoint: hostname, port: Number(port), region: "us-east-1", ...signer });
      const url = await client.presignedUrl("HEAD", bucket, "jobs/job-123/result.tif", 900);
      const head = await send(url.slice(origin.length), { method: "HEAD" });
      expect(head.status).toBe(200);
      expect(head.headers["content-length"]).toBe(String(picture.length));
      // A URL is signed for one method.
      expect((await send(signed(), { method: "HEAD" })).status).toBe(403);

      const part = await send(signed(), { headers: { range: "bytes=1000000-1000009" } });
      expect(part.status).toBe(206);
      expect(part.body.equals(picture.subarray(1_000_000, 1_000_010))).toBe(true);
      expect(part.headers["content-range"]).toBe(`bytes 1000000-1000009/${picture.length}`);

      const { etag } = part.headers;
      const same = await send(signed(), { headers: { "if-none-match": String(etag) } });
      expect(same.status).toBe(304);
      const other = await send(signed(), { headers: { "if-match": '"other"' } });
      expect(other.status).toBe(412);
    });

    test("resumes with If-Range only while the object is the same, which MinIO alone would not", async () => {
      const range = "bytes=1000000-";
      const { etag } = (await send(signed())).headers;
      const resumed = await send(signed(), { headers: { range, "if-range": String(etag) } });
      expect(resumed.status).toBe(206);
      expect(resumed.headers["content-range"]).toBe(`bytes 1000000-2999999/${picture.length}`);
      expect(resumed.body.equals(picture.subarray(1_000_000))).toBe(true);
      const changed = await send(signed(), { headers: { range, "if-range": '"other"' } });
      expect(changed.status).toBe(200);
      expect(changed.body.equals(picture)).toBe(true);
    });

    test("passes further signed parameters and encoded names as they are", async () => {
      const target = signed({
        path: `/${bucket}/jobs/job-123/a b (é).tif`,
        query: {
          "x-geocrop-user": "alice / bob+%",
          "response-content-disposition": 'attachment; filename="a b.tif"',
        },
      });
      const answer = await send(target);
      expect(answer.status).toBe(200);
      expect(answer.headers["content-disposition"]).toBe('attachment; filename="a b.tif"');
    });

    test("leaves to MinIO what only MinIO can tell: a wrong signature, an old URL, another host", async () => {
      const target = signed();
      const last = target.at(-1) === "0" ? "1" : "0";
      const answers = [
        await send(target.slice(0, -1) + last),
        await send(signed({ now: new Date(Date.now() - 3_600_000) })),
        await send(target, { headers: { host: "other.example" } }),
      ];
      for (const answer of answers) {
        expect(answer.status).toBe(403);
        expect(answer.body.toString()).toMatch(/SignatureDoesNotMatch|Request has expired/);
      }
    });

    test.each([
      ["PUT", "PUT"],
      ["POST", "POST"],
      ["DELETE", "DELETE"],
      ["OPTIONS", "OPTIONS"],
      ["PROPFIND", "PROPFIND"],
    ])("refuses %s", async (_, method) => {
      const answer = await send(signed(), {
        method,
        headers: { "x-amz-copy-source": `/${bucket}/private.tif` },
      });
      expect(answer.status).toBe(403);
      expect(answer.headers["x-amz-request-id"]).toBeUndefined();
    });

    test.each([
      ["the bucket", `/${bucket}/`],
      ["an object outside of jobs", `/${bucket}/private.tif`],
      ["another bucket", "/geocrop-models/jobs/job-123/result.tif"],
      ["the admin API", "/minio/admin/v3/info"],
      ["metrics", "/minio/v2/metrics/cluster"],
      ["metrics of version 3", "/minio/metrics/v3/api/requests"],
      ["the console", "/minio/console"],
      ["the login page", "/minio/login"],
      ["MinIO's internal calls", "/minio/storage/data/v61/readall"],
      ["STS", "/?Action=AssumeRole&Version=2011-06-15"],
      ["MinIO's own health", "/minio/health/live"],
      ["dots", `/${bucket}/jobs/job-123/../../private.tif`],
      ["encoded dots", `/${bucket}/jobs/job-123/%2e%2e/%2e%2e/private.tif`],
      ["an encoded slash", `/${bucket}/jobs/job-123%2fresult.tif`],
      ["a doubled slash", `/${bucket}/jobs//job-123/result.tif`],
      ["a twice encoded dot", `/${bucket}/jobs/job-123/%252e%252e/result.tif`],
    ])("refuses %s, signed or not, before MinIO is asked", async (_, target) => {
      const query = signed().slice(path.length);
      for (const answer of [await send(target), await send(target + query)]) {
        expect(answer.status).toBe(403);
        expect(answer.headers["x-amz-request-id"]).toBeUndefined();
      }
    });

    test("refuses the plain object, and one with a version 2 signature", async () => {
      expect((await send(path)).status).toBe(403);
      expect(
        (await send(`${path}?AWSAccessKeyId=${signer.accessKey}&Expires=9999999999&Signature=a`)).status,
      ).toBe(403);
    });

    test("passes none of the client's other headers on", async () => {
      // MinIO refuses a request signed twice, so it would say so if one of these arrived.
      const answer = await send(signed(), {
        headers: {
          authorization:
            "AWS4-HMAC-SHA256 Credential=a/20261124/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=b",
          "x-amz-copy-source": `/${bucket}/private.tif`,
          "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
          "x-amz-server-side-encryption-customer-algorithm": "AES256",
          "x-minio-source-replication-request": "true",
          cookie: "a=b",
          "transfer-encoding": "chunked",
        },
      });
      expect(answer.status).toBe(200);
      expect(answer.body.equals(picture)).toBe(true);
    });

    describe("web pages", () => {
      const page = "https://map.example.com";
      let open: Gateway;

      beforeAll(async () => {
        open = await startGateway({ allowedOrigins: [page, "https://other.example.com:8443"] });
      });

      test("of the configured origins may read downloads, by range too", async () => {
        const answer = await send(signed(), { via: open, headers: { origin: page, range: "bytes=0-9" } });
        expect(answer.status).toBe(206);
        expect(answer.headers).toMatchObject({
          "access-control-allow-origin": page,
          "access-control-expose-headers":
            "Accept-Ranges, Content-Disposition, Content-Range, ETag, Last-Modified",
          "content-range": `bytes 0-9/${picture.length}`,
        });
        expect(String(answer.headers["vary"]).toLowerCase()).toContain("origin");
        const refused = await send(path, { via: open, headers: { origin: page } });
        expect(refused.headers["access-control-allow-origin"]).toBe(page);
      });

      test("ask beforehand, and are told what they may", async () => {
        const headers = { origin: page, "access-control-request-method": "GET" };
        const answer = await send(signed(), { via: open, method: "OPTIONS", headers });
        expect(answer.status).toBe(204);
        expect(answer.headers).toMatchObject({
          "access-control-allow-origin": page,
          "access-control-allow-methods": "GET, HEAD",
          "access-control-allow-headers": expect.stringContaining("If-None-Match"),
        });
        expect(answer.headers["access-control-allow-credentials"]).toBeUndefined();
      });

      test.each([
        "https://map.example.com.evil.test",
        "https://evil.test/https://map.example.com",
        "http://map.example.com",
        "https://map.example.com:8443",
        "null",
        "*",
      ])("of %s may not", async (origin) => {
        const answer = await send(signed(), { via: open, headers: { origin } });
        const preflight = await send(signed(), { via: open, method: "OPTIONS", headers: { origin } });
        expect(preflight.status).toBe(403);
        for (const { headers } of [answer, preflight]) {
          expect(Object.keys(headers).filter((name) => name.startsWith("access-control-"))).toEqual([]);
        }
      });

      test("may not at all where no origin is configured", async () => {
        const { headers } = await send(signed(), { headers: { origin: page } });
        expect(Object.keys(headers).filter((name) => name.startsWith("access-control-"))).toEqual([]);
      });
    });

    test("refuses a long URL and a body", async () => {
      expect((await send(`${signed()}&a=${"a".repeat(9_000)}`)).status).toBe(414);
      expect(
        (await send(signed(), { body: "x".repeat(100), headers: { "content-length": 100 } })).status,
      ).toBe(413);
    });

    test.each([
      ["STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"],
      ["streaming-aws4-hmac-sha256-payload", "streaming-aws4-hmac-sha256-payload"],
    ])("refuses the content hash %s, as a header and in the query", async (_, hash) => {
      const inQuery = signed({ query: { "X-Amz-Content-Sha256": hash } });
      for (const answer of [
        await send(signed(), { headers: { "x-amz-content-sha256": hash } }),
        await send(inQuery),
      ]) {
        expect(answer.status).toBe(403);
        expect(answer.body.toString()).toBe("Uploads do not pass here.\n");
      }
    });

    test("speaks HTTP/2 to who asks for it, with the same rules", async () => {
      const session = connectHttp2(gateway.origin, { ca: await readFile(join(gateway.tls, "tls.crt")) });
      const ask = async (target: string, headers: Record<string, string> = {}) => {
        const stream = session.request({
          ":path": target,
          ":authority": new URL(origin).host,
          ...headers,
        });
        const status = new Promise<number>((resolve) => {
          stream.on("response", (answer) => {
            resolve(answer[":status"] ?? 0);
          });
        });
        const chunks: Buffer[] = [];
        for await (const chunk of stream) chunks.push(Buffer.from(chunk));
        return { status: await status, body: Buffer.concat(chunks) };
      };
      const answers = await Promise.all(Array.from({ length: 5 }, () => ask(signed())));
      for (const { status, body } of answers) {
        expect(status).toBe(200);
        expect(body.equals(picture)).toBe(true);
      }
      expect((await ask(signed(), { range: "bytes=0-9" })).status).toBe(206);
      expect((await ask(path)).status).toBe(403);
      expect((await ask(signed(), { ":method": "DELETE" })).status).toBe(403);
      expect((await ask(signed(), { "x-amz-content-sha256": "STREAMING-X" })).status).toBe(403);
      expect((await ask(`${signed()}&a=${"a".repeat(9_000)}`).catch(() => undefined))?.status).not.toBe(200);
      session.close();
      await expect
        .poll(() => gateway.accessLog())
        .toContainEqual(expect.objectContaining({ protocol: "HTTP/2.0" }));
    });

    test("answers 429 to an address that asks too often or for too much at once, and to no other", async () => {
      const limited = await startGateway({
        limits: { connections: 3, requestsPerSecond: 5 },
        trustedProxies: ["127.0.0.1/32"],
      });
      const ask = (address: string) =>
        send(signed(), { via: limited, headers: { "x-forwarded-for": address, range: "bytes=0-9" } });
      const many: number[] = [];
      for (let n = 0; n < 30; n += 1) many.push((await ask("192.0.2.1")).status);
      expect(new Set(many)).toEqual(new Set([206, 429]));
      expect((await ask("192.0.2.2")).status).toBe(206);
      await expect
        .poll(async () => (await limited.accessLog()).at(-1))
        .toMatchObject({ remote_addr: "192.0.2.2", status: "206" });

      const holds = await Promise.all(
        [1, 2, 3].map(() => begin(limited, { "x-forwarded-for": "192.0.2.3" })),
      );
      expect((await ask("192.0.2.3")).status).toBe(429);
      for (const { hangUp } of holds) hangUp();
      await expect.poll(async () => (await ask("192.0.2.3")).status, { interval: 500 }).toBe(206);
    });

    test("believes no X-Forwarded-For but a trusted proxy's", async () => {
      await send(signed(), { headers: { "x-forwarded-for": "192.0.2.9" } });
      await expect
        .poll(async () => (await gateway.accessLog()).at(-1))
        .toMatchObject({ remote_addr: "127.0.0.1" });
    });

    test("does not drop a download under way when its certificate is renewed", async () => {
      const download = await begin(gateway);
      const before = await connected({});
      await renewCertificate(gateway.tls);
      const after = await connected({});
      const serials = [before, after].map((socket) => socket.getPeerCertificate().serialNumber);
      expect(new Set(serials).size).toBe(2);
      for (const socket of [before, after]) socket.destroy();
      expect(await download.readOn()).toBe(scene.bytes);
    });

    /** A long download that is read no further than its beginning, until told so. */
    async function begin(
      via: Gateway,
      headers: Readonly<Record<string, string>> = {},
    ): Promise<{ readonly readOn: () => Promise<number>; readonly hangUp: () => void }> {
      const ca = await readFile(join(via.tls, "tls.crt"));
      const { hostname, port } = new URL(via.origin);
      const { host } = new URL(origin);
      const sent = request({
        hostname,
        port,
        path: signed({ path: scene.path }),
        ca,
        headers: { host, ...headers },
      }).end();
      const answer = await new Promise<IncomingMessage>((resolve, reject) => {
        sent.once("response", resolve).on("error", reject);
      });
      const failed = new Promise<never>((_, reject) => {
        answer.on("error", reject);
      });
      failed.catch(() => undefined);
      return {
        hangUp: () => {
          sent.destroy();
        },
        readOn: async () => {
          let bytes = 0;
          answer.on("data", (chunk: Buffer) => (bytes += chunk.length));
          await Promise.race([once(answer, "end"), failed]);
          return bytes;
        },
      };
    }

    test("speaks TLS 1.2 and 1.3 with Mozilla's suites only", async () => {
      await expect(handshake({ version: "TLSv1.3" })).resolves.toBe("TLSv1.3");
      await expect(handshake({ version: "TLSv1.2" })).resolves.toBe("TLSv1.2");
      await expect(handshake({ version: "TLSv1.1", ciphers: "ALL:@SECLEVEL=0" })).rejects.toThrow(
        "protocol version",
      );
      await expect(handshake({ version: "TLSv1.2", ciphers: "ECDHE-ECDSA-AES128-SHA256" })).rejects.toThrow(
        "handshake failure",
      );
    });

    test("refuses to talk to a MinIO whose certificate it can't verify, and says so in its log only", async () => {
      const directory = await mkdtemp(join(tmpdir(), "gateway-other-"));
      cleanups.push(() => rm(directory, { recursive: true }));
      await writeCertificate(directory);
      const distrusting = await startGateway({ ca: await readFile(join(directory, "tls.crt")) });
      const answer = await send(signed(), { via: distrusting });
      expect(answer.status).toBe(502);
      await expect
        .poll(() => distrusting.accessLog())
        .toMatchObject([{ status: "502", upstream_status: "502", path }]);
      await expectNoSecret(distrusting);

      const { port } = new URL(minio.origin);
      const misnamed = await startGateway({ upstream: `127.0.0.1:${port}` });
      expect((await send(signed(), { via: misnamed })).status).toBe(502);
      await expectNoSecret(misnamed);
    });

    test("says 502 while MinIO is away, and works again when it is back", async () => {
      await minio.stop();
      expect((await send(signed())).status).toBe(502);
      await minio.start();
      expect((await send(signed())).status).toBe(200);
    });

    test("finishes a download under way when told to quit", async () => {
      const quitting = await startGateway();
      const download = await begin(quitting);
      quitting.process.kill("SIGQUIT");
      await delay(500);
      expect(await download.readOn()).toBe(scene.bytes);
      if (quitting.process.exitCode === null) await once(quitting.process, "exit");
      expect(quitting.process.exitCode).toBe(0);
    });

    test("logs each request without its query, however the client wrote it", async () => {
      const query = signed().slice(path.length);
      await send(`${path}%3F${query.slice(1)}`);
      await send(`${path}%253F${query.slice(1)}`);
      await send(`/a b?${query}`.replace(" ", "%20"), { headers: { "user-agent": 'a"b\\c\u00e9' } });
      // nginx writes a request's line after its answer.
      await expect
        .poll(async () => (await gateway.accessLog()).at(-1))
        .toMatchObject({ path: "/a%20b", status: "403" });
      const log = await gateway.accessLog();
      expect(log.length).toBeGreaterThan(40);
      expect(log[0]).toMatchObject({
        method: "GET",
        path,
        status: "200",
        tls: "TLSv1.3",
        upstream_status: "200",
      });
      await expectNoSecret(gateway);
    });

    async function connected(options: { readonly version?: SecureVersion; readonly ciphers?: string }) {
      const { version, ...rest } = options;
      const versions = version === undefined ? {} : { minVersion: version, maxVersion: version };
      const port = Number(new URL(gateway.origin).port);
      const socket = connect({ host: "localhost", port, rejectUnauthorized: false, ...versions, ...rest });
      await once(socket, "secureConnect");
      return socket;
    }

    async function handshake(options: Parameters<typeof connected>[0]): Promise<string | null> {
      const socket = await connected(options);
      const protocol = socket.getProtocol();
      socket.destroy();
      return protocol;
    }
  },
);

async function expectNoSecret(of: Gateway): Promise<void> {
  const logs = await of.logs();
  expect(logs).not.toMatch(/[0-9a-f]{64}/);
  expect(logs).not.toMatch(/X-Amz-|Signature|Credential/i);
  expect(logs).not.toContain(signer.secretKey);
}
