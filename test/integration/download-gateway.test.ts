import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chown, copyFile, cp, mkdir, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import type { OutgoingHttpHeaders } from "node:http";
import { Agent, request } from "node:https";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connect, type SecureVersion } from "node:tls";
import { promisify } from "node:util";
import { Client } from "minio";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { nginxConfig } from "../../components/download-gateway-config.ts";
import { apiSignerPolicy } from "../../components/iam-policies.ts";
import { ensureBuilds } from "../../sandbox/builds.ts";
import { ensureBase } from "../../sandbox/images/bases.ts";
import { layoutOf } from "../../sandbox/layout.ts";
import { runner } from "../../sandbox/run.ts";
import { createPresigner, type GetRequest } from "../../services/signed-url-api/presign.ts";
import { type MinioServer, startMinio, writeCertificate } from "../support/minio-server.ts";

const execute = promisify(execFile);

/** nginx runs as it does in its image: the same binary, in a root of its own, as uid 1000. */
const skipped =
  process.getuid?.() !== 0
    ? "needs root, to run nginx in the image's root file system"
    : existsSync("/usr/bin/mmdebstrap")
      ? undefined
      : "needs the package mmdebstrap, which makes the image's root file system";

const bucket = "geocrop-results";
const path = `/${bucket}/jobs/job-123/result.tif`;
const picture = randomBytes(3_000_000);
const signer = { accessKey: "api-signer-1", secretKey: randomUUID() };

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

/** An nginx in a copy of the image's root. */
interface Gateway {
  readonly origin: string;
  readonly root: string;
  readonly process: ChildProcess;
  /** Everything it wrote, on both its logs. */
  readonly logs: () => Promise<string>;
  readonly accessLog: () => Promise<Record<string, unknown>[]>;
}

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
      const port = await freePort();
      origin = `https://localhost:${port}`;
      gateway = await startGateway(minio.ca, undefined, port);
    });

    afterAll(async () => {
      for (const cleanup of cleanups.toReversed()) await cleanup();
    });

    /** Starts nginx with its certificate, trusting `ca` for MinIO at `upstream`. */
    async function startGateway(
      ca: Buffer,
      upstream = `localhost:${new URL(minio.origin).port}`,
      port?: number,
    ): Promise<Gateway> {
      const directory = await mkdtemp(join(tmpdir(), "gateway-"));
      cleanups.push(() => rm(directory, { recursive: true }));
      const root = join(directory, "root");
      await cp(base, root, { recursive: true, verbatimSymlinks: true });
      const tls = join(root, "etc/geocrop/tls");
      const listening = port ?? (await freePort());
      await Promise.all([
        mkdir(tls, { recursive: true }),
        mkdir(join(root, "etc/nginx")),
        mkdir(join(root, "dev")),
      ]);
      await execute("mknod", ["-m", "666", join(root, "dev/null"), "c", "1", "3"]);
      await renewCertificate(tls);
      await writeFile(join(tls, "ca.crt"), ca);
      await writeFile(join(root, "etc/hosts"), "127.0.0.1 localhost\n");
      await writeFile(
        join(root, "etc/nginx/nginx.conf"),
        nginxConfig({ upstream, bucket, port: listening, accessLog: "/tmp/access.log" }),
      );
      const stderr = await open(join(directory, "stderr.log"), "w");
      // In the pod only /tmp can be written to; here it's the rights of uid 1000 that see to that.
      const child = spawn("chroot", ["--userspec=1000:1000", root, "/usr/sbin/nginx", "-e", "stderr"], {
        stdio: ["ignore", "ignore", stderr.fd],
      });
      await stderr.close();
      cleanups.push(async () => {
        if (child.exitCode !== null) return;
        child.kill("SIGTERM");
        await once(child, "exit");
      });
      const started: Gateway = {
        origin: `https://localhost:${listening}`,
        root,
        process: child,
        logs: async () =>
          (await read(join(directory, "stderr.log"))) + (await read(join(root, "tmp/access.log"))),
        accessLog: async () =>
          (await read(join(root, "tmp/access.log")))
            .trim()
            .split("\n")
            .map((line): Record<string, unknown> => JSON.parse(line)),
      };
      for (let tries = 0; tries < 50; tries += 1) {
        const answer = await send("/healthz", { via: started }).catch(() => undefined);
        if (answer?.status === 200) return started;
        await delay(100);
      }
      throw new Error(`nginx did not start: ${await read(join(directory, "stderr.log"))}`);
    }

    /** The path and query of a URL signed for the gateway's address. */
    function signed(more: Partial<GetRequest> = {}): string {
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

    /** One request, its target sent byte for byte. Its Host is the main gateway's, for that is what is signed. */
    async function send(
      target: string,
      {
        method = "GET",
        headers = {},
        body,
        via = gateway,
      }: {
        readonly method?: string;
        readonly headers?: OutgoingHttpHeaders;
        readonly body?: string;
        readonly via?: Gateway;
      } = {},
    ): Promise<Answer> {
      const agent = new Agent({ ca: await readFile(join(via.root, "etc/geocrop/tls/tls.crt")) });
      const { hostname, port } = new URL(via.origin);
      return new Promise((resolve, reject) => {
        const { host } = new URL(origin);
        const sent = request(
          {
            hostname,
            servername: hostname,
            port,
            path: target,
            method,
            agent,
            headers: { host, ...headers },
          },
          (answer) => {
            const chunks: Buffer[] = [];
            answer.on("data", (chunk: Buffer) => chunks.push(chunk));
            answer.on("error", reject);
            answer.on("end", () => {
              resolve({
                status: answer.statusCode ?? 0,
                headers: answer.headers,
                body: Buffer.concat(chunks),
              });
            });
          },
        );
        sent.on("error", reject);
        sent.end(body);
      });
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
          "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
          "x-amz-server-side-encryption-customer-algorithm": "AES256",
          "x-minio-source-replication-request": "true",
          cookie: "a=b",
          "transfer-encoding": "chunked",
        },
      });
      expect(answer.status).toBe(200);
      expect(answer.body.equals(picture)).toBe(true);
    });

    test("refuses a long URL and a body", async () => {
      expect((await send(`${signed()}&a=${"a".repeat(9_000)}`)).status).toBe(414);
      expect(
        (await send(signed(), { body: "x".repeat(100), headers: { "content-length": 100 } })).status,
      ).toBe(413);
    });

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

    test("shows a renewed certificate at the next handshake", async () => {
      const before = await connected({});
      await renewCertificate(join(gateway.root, "etc/geocrop/tls"));
      const after = await connected({});
      const serials = [before, after].map((socket) => socket.getPeerCertificate().serialNumber);
      expect(new Set(serials).size).toBe(2);
      for (const socket of [before, after]) socket.destroy();
    });

    test("refuses to talk to a MinIO whose certificate it can't verify, and says so in its log only", async () => {
      const directory = await mkdtemp(join(tmpdir(), "gateway-other-"));
      cleanups.push(() => rm(directory, { recursive: true }));
      await writeCertificate(directory);
      const distrusting = await startGateway(await readFile(join(directory, "tls.crt")));
      const answer = await send(signed(), { via: distrusting });
      expect(answer.status).toBe(502);
      expect(await distrusting.accessLog()).toMatchObject([{ status: "502", upstream_status: "502", path }]);
      await expectNoSecret(distrusting);

      const { port } = new URL(minio.origin);
      const misnamed = await startGateway(minio.ca, `127.0.0.1:${port}`);
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
      const quitting = await startGateway(minio.ca);
      const { hostname, port } = new URL(quitting.origin);
      const ca = await readFile(join(quitting.root, "etc/geocrop/tls/tls.crt"));
      const received = await new Promise<number>((resolve, reject) => {
        const headers = { host: new URL(origin).host };
        request({ hostname, port, path: signed(), ca, headers }, (answer) => {
          let bytes = 0;
          answer.once("readable", () => {
            quitting.process.kill("SIGQUIT");
            setTimeout(() => {
              answer.on("data", (chunk: Buffer) => (bytes += chunk.length));
            }, 500);
          });
          answer.on("error", reject);
          answer.on("end", () => {
            resolve(bytes);
          });
        })
          .on("error", reject)
          .end();
      });
      expect(received).toBe(picture.length);
      if (quitting.process.exitCode === null) await once(quitting.process, "exit");
      expect(quitting.process.exitCode).toBe(0);
    });

    test("logs each request without its query, however the client wrote it", async () => {
      const query = signed().slice(path.length);
      await send(`${path}%3F${query.slice(1)}`);
      await send(`${path}%253F${query.slice(1)}`);
      await send(`/a b?${query}`.replace(" ", "%20"), { headers: { "user-agent": 'a"b\\c\u00e9' } });
      const log = await gateway.accessLog();
      expect(log.length).toBeGreaterThan(40);
      expect(log[0]).toMatchObject({
        method: "GET",
        path,
        status: "200",
        tls: "TLSv1.3",
        upstream_status: "200",
      });
      expect(log.at(-1)).toMatchObject({ path: "/a%20b", status: "403" });
      await expectNoSecret(gateway);
    });

    async function expectNoSecret(of: Gateway): Promise<void> {
      const logs = await of.logs();
      expect(logs).not.toMatch(/[0-9a-f]{64}/);
      expect(logs).not.toMatch(/X-Amz-|Signature|Credential/i);
      expect(logs).not.toContain(signer.secretKey);
    }

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

const read = (file: string): Promise<string> => readFile(file, "utf8");

/** A new certificate in the place of the former, readable by uid 1000, as a mounted Secret is. */
async function renewCertificate(directory: string): Promise<void> {
  const fresh = await mkdtemp(join(tmpdir(), "gateway-tls-"));
  await writeCertificate(fresh);
  for (const name of ["tls.key", "tls.crt"]) {
    await copyFile(join(fresh, name), join(directory, name));
    await chown(join(directory, name), 1000, 1000);
  }
  await rm(fresh, { recursive: true });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
