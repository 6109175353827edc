import { createServer } from "node:http";

import Fastify from "fastify";
import { createLocalJWKSet, exportJWK, generateKeyPair, jwtVerify, SignJWT } from "jose";
import { Client } from "minio";

import { buildApp } from "../services/signed-url-api/app.ts";
import { createDownloads } from "../services/signed-url-api/signing/downloads.ts";
import type { HttpsSend } from "../services/common/https-client.ts";
import { createLogger, standardOutput } from "../services/common/log.ts";
import { createJobs } from "../services/signed-url-api/jobs/jobs.ts";
import { createLogWriter } from "../services/signed-url-api/log-writer.ts";
import { createMetrics } from "../services/signed-url-api/metrics.ts";
import { mayRead, readManifest } from "../services/signed-url-api/jobs/ownership.ts";
import { createPresigner } from "../services/signed-url-api/signing/presign.ts";
import { createStorage } from "../services/signed-url-api/jobs/storage.ts";
import { createTokens } from "../services/signed-url-api/auth/tokens.ts";

/**
 * One of the servers that bench/api.ts compares, in a process of its own: `ours` or `usual`. Storage is in memory for
 * both. Says on its IPC channel where it listens, and which token it takes.
 */
const [which] = process.argv.slice(2);

const issuer = "https://issuer.test";
const audience = "geocrop-api";
const bucket = "geocrop-results";
const publicOrigin = "https://downloads.test:30444";
const credentials = { accessKey: "api-signer-1", secretKey: "a-secret-of-forty-characters-for-a-bench" };

const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
const keys = createLocalJWKSet({ keys: [{ ...(await exportJWK(publicKey)), kid: "k", alg: "ES256" }] });
const token = await new SignJWT({ client_id: "bench" })
  .setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid: "k" })
  .setIssuer(issuer)
  .setAudience(audience)
  .setSubject("alice@geocrop.example")
  .setIssuedAt()
  .setExpirationTime("2h")
  .sign(privateKey);

/** Every job is alice's, and has a result. */
const memoryStorage: HttpsSend = (url) => {
  const [, jobId = "", name] = /\/jobs\/([^/]+)\/([^?]+)/.exec(url) ?? [];
  const manifest = Buffer.from(JSON.stringify({ job_id: jobId, owner: "alice@geocrop.example" }));
  return Promise.resolve(
    name === "job.json"
      ? { status: 200, headers: { "content-length": String(manifest.length) }, body: manifest }
      : {
          status: 206,
          headers: {
            "content-range": "bytes 0-0/123456789",
            etag: '"d41d8cd98f00b204e9800998ecf8427e-24"',
            "content-type": "image/tiff; application=geotiff; profile=cloud-optimized",
          },
          body: Buffer.from("I"),
        },
  );
};

const listener = createServer();
const presign = createPresigner(publicOrigin, "us-east-1", () => credentials);
const storage = createStorage({ bucket, presign, send: memoryStorage });

async function ours() {
  const unlimited = 1_000_000_000;
  const logWriter = createLogWriter(standardOutput());
  return buildApp({
    settings: {
      URL_EXPIRY_SECONDS: 900,
      CORS_ORIGINS: ["https://map.geocrop.example"],
      RATE_PER_SUBJECT: unlimited,
      RATE_PER_ADDRESS: unlimited,
    },
    tokens: createTokens({ issuer, audience, algorithms: ["ES256"], keys }),
    jobs: createJobs(storage),
    downloads: createDownloads({ bucket, presign }),
    metrics: createMetrics(),
    ready: () => true,
    log: createLogger(logWriter),
    logWriter,
    listener,
  });
}

/** What one would write first: Fastify, jose and minio-js, the same checks at each request, nothing remembered. */
function usual() {
  const client = new Client({
    endPoint: "downloads.test",
    port: 30444,
    useSSL: true,
    region: "us-east-1",
    ...credentials,
  });
  const app = Fastify({ logger: true, serverFactory: (handler) => listener.on("request", handler) });
  app.get<{ Params: { job_id: string } }>("/api/v1/results/:job_id/download", async (request, reply) => {
    const jobId = request.params.job_id;
    const bearer = request.headers.authorization?.replace(/^Bearer /, "") ?? "";
    const { payload } = await jwtVerify(bearer, keys, {
      algorithms: ["ES256"],
      issuer,
      audience,
      typ: "at+jwt",
      requiredClaims: ["exp", "sub"],
    });
    const stored = await storage.read(`jobs/${jobId}/job.json`, { maxBytes: 65_536 });
    const manifest = stored?.body && readManifest(jobId, stored.body);
    if (!manifest || !mayRead(manifest, { subject: payload.sub ?? "", admin: false }))
      return reply.code(404).send();
    const key = `jobs/${jobId}/result.tif`;
    const result = await storage.read(key, { maxBytes: 4096, range: "0-0" });
    return {
      job_id: jobId,
      url: await client.presignedGetObject(bucket, key, 900),
      expires_at: new Date(Date.now() + 900_000).toISOString(),
      size: result?.size,
      etag: result?.etag,
      content_type: result?.contentType,
    };
  });
  return app;
}

const app = which === "usual" ? usual() : await ours();
await app.ready();
const { server } = app;
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  process.send?.({ port: typeof address === "object" ? address?.port : undefined, token });
});
process.on("message", () => process.send?.({ rss: process.memoryUsage().rss, cpu: process.cpuUsage() }));
process.on("disconnect", () => process.exit());
