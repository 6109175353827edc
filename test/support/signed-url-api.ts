import { CompactSign, createLocalJWKSet, exportJWK, generateKeyPair, type JWTVerifyGetKey } from "jose";

import { buildApp, type AppOptions } from "../../services/signed-url-api/app.ts";
import { createDownloads } from "../../services/signed-url-api/signing/downloads.ts";
import type { HttpsResponse, HttpsSend } from "../../services/common/https-client.ts";
import { createLogger } from "../../services/common/log.ts";
import { createJobs } from "../../services/signed-url-api/jobs/jobs.ts";
import { createLogWriter } from "../../services/signed-url-api/log-writer.ts";
import { createMetrics } from "../../services/signed-url-api/metrics.ts";
import type { App } from "../../services/signed-url-api/routes/openapi.ts";
import { createPresigner } from "../../services/signed-url-api/signing/presign.ts";
import { createStorage } from "../../services/signed-url-api/jobs/storage.ts";
import { createTokens, type TokenRules } from "../../services/signed-url-api/auth/tokens.ts";

/** The API with an issuer of its own, and with storage replaced at the HTTP boundary. */
export const issuer = "https://issuer.test";
export const audience = "geocrop-api";
export const internal = "https://minio.test:9000";
export const publicOrigin = "https://downloads.test:30444";
export const secretKey = "signer-secret-key";

const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
export const jwk = { ...(await exportJWK(publicKey)), kid: "k1", alg: "ES256" };

/** Objects by key, as storage holds them; a number stands for an answer with that status. */
export type Objects = Record<string, string | Buffer | number>;

export const manifest = (jobId: string, owner: string, sharedWith?: unknown): string =>
  JSON.stringify({ job_id: jobId, owner, shared_with: sharedWith });

export const someObjects: Objects = {
  "jobs/job-123/job.json": manifest("job-123", "alice", ["carol"]),
  "jobs/job-123/result.tif": "II*\0 a picture",
  "jobs/running/job.json": manifest("running", "alice", ["carol"]),
  "jobs/empty/job.json": manifest("empty", "alice"),
  "jobs/empty/result.tif": "",
  "jobs/ownerless/job.json": JSON.stringify({ job_id: "ownerless" }),
  "jobs/nobody/job.json": manifest("nobody", ""),
  "jobs/copied/job.json": manifest("job-123", "alice"),
  "jobs/text/job.json": "alice",
  "jobs/list/job.json": '["alice"]',
  "jobs/latin1/job.json": Buffer.from('{"job_id":"latin1","owner":"alice","note":"\xe9"}', "latin1"),
  "jobs/huge/job.json": manifest("huge", "alice") + " ".repeat(64 * 1024),
  "jobs/shares/job.json": manifest("shares", "alice", "alice"),
  "jobs/refused/job.json": 403,
  "jobs/broken/job.json": 500,
};

const failure = (status: number, code: string): HttpsResponse => ({
  status,
  headers: {},
  body: Buffer.from(`<Error><Code>${code}</Code></Error>`),
});

/** Storage as MinIO answers. @param asked - gets every URL that it is asked for */
export function stubStorage(stored: Objects, asked: URL[] = []): HttpsSend {
  return (url, { headers, maxBytes }) => {
    asked.push(new URL(url));
    const key = new URL(url).pathname.replace("/geocrop-results/", "");
    const found = stored[key];
    if (found === undefined) return Promise.resolve(failure(404, "NoSuchKey"));
    if (typeof found === "number") return Promise.resolve(failure(found, "AccessDenied"));
    const content = Buffer.from(found);
    if (headers?.["range"] === undefined) {
      const body = content.length > maxBytes ? undefined : content;
      return Promise.resolve({ status: 200, headers: { "content-length": String(content.length) }, body });
    }
    if (content.length === 0) return Promise.resolve(failure(416, "InvalidRange"));
    return Promise.resolve({
      status: 206,
      headers: { "content-range": `bytes 0-0/${content.length}`, etag: '"e1"', "content-type": "image/tiff" },
      body: content.subarray(0, 1),
    });
  };
}

export interface Bench {
  app: App;
  /** Every URL that storage was asked for. */
  asked: URL[];
  /** Every log line. */
  logs: () => string;
  /** Moves the clock that caches and URLs go by, in milliseconds. */
  later: (ms: number) => void;
}

export interface BenchOptions {
  stored?: Objects;
  send?: HttpsSend;
  ready?: () => boolean;
  keys?: JWTVerifyGetKey;
  admin?: TokenRules["admin"];
  settings?: Partial<AppOptions["settings"]>;
}

/** An hour's sharp begin, so that windows are easy to reckon with. The tokens' clock is the real one. */
export const startOfTest = Date.parse("2026-11-24T10:00:00.900Z");

export async function bench(options: BenchOptions = {}): Promise<Bench> {
  const asked: URL[] = [];
  const lines: string[] = [];
  let time = startOfTest;
  const now = (): number => time;
  const credentials = () => ({ accessKey: "api-signer-1", secretKey });
  const logWriter = createLogWriter({ write: (text) => lines.push(text) });
  const tokenTime = (): number => Date.now() + time - startOfTest;
  const storage = createStorage({
    bucket: "geocrop-results",
    presign: createPresigner(internal, "us-east-1", credentials),
    send: options.send ?? stubStorage(options.stored ?? someObjects, asked),
  });
  const app = await buildApp({
    settings: {
      URL_EXPIRY_SECONDS: 900,
      CORS_ORIGINS: ["https://map.test"],
      RATE_PER_SUBJECT: 1_000_000,
      RATE_PER_ADDRESS: 1_000_000,
      ...options.settings,
    },
    tokens: createTokens({
      issuer,
      audience,
      algorithms: ["ES256"],
      keys: options.keys ?? createLocalJWKSet({ keys: [jwk] }),
      admin: options.admin,
      now: tokenTime,
    }),
    jobs: createJobs(storage, { now, refusalMs: 0 }),
    downloads: createDownloads({
      bucket: "geocrop-results",
      presign: createPresigner(publicOrigin, "us-east-1", credentials),
      now,
    }),
    metrics: createMetrics(),
    ready: options.ready ?? (() => true),
    log: createLogger(logWriter),
    logWriter,
  });
  return { app, asked, logs: () => lines.join(""), later: (ms) => (time += ms) };
}

export interface TokenParts {
  header?: Record<string, unknown>;
  claims?: Record<string, unknown>;
  /** The claims' JSON, whatever it is. */
  text?: string;
  key?: Parameters<CompactSign["sign"]>[0];
}

/** A good token, but for what is said. */
export function token({
  header = {},
  claims = {},
  text,
  key = privateKey,
}: TokenParts = {}): Promise<string> {
  const seconds = Math.floor(Date.now() / 1000);
  const all = { iss: issuer, aud: audience, sub: "alice", exp: seconds + 600, iat: seconds, ...claims };
  return new CompactSign(Buffer.from(text ?? JSON.stringify(all)))
    .setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid: "k1", ...header })
    .sign(key, { crit: { x: true } });
}

export const download = (jobId: string, query = ""): string => `/api/v1/results/${jobId}/download${query}`;

/** Asks as a user, `alice` unless said otherwise; an empty bearer sends no token. */
export async function ask(
  { app }: Bench,
  url: string,
  options: {
    bearer?: string;
    as?: string;
    method?: "GET" | "HEAD" | "POST" | "OPTIONS";
    headers?: Record<string, string>;
    payload?: string | object;
  } = {},
) {
  const bearer = options.bearer ?? (await token({ claims: { sub: options.as ?? "alice" } }));
  const answer = await app.inject({
    method: options.method ?? "GET",
    url,
    headers: { ...(bearer !== "" && { authorization: `Bearer ${bearer}` }), ...options.headers },
    ...(options.payload !== undefined && { payload: options.payload }),
  });
  // The log is written at the end of a turn, which a refusal does not wait for.
  await new Promise(setImmediate);
  return answer;
}

export const json = (text: string): Record<string, unknown> => {
  const value: unknown = JSON.parse(text);
  return Object.fromEntries(Object.entries(Object(value)));
};
