import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";

import { AwsV4Signer } from "aws4fetch";
import { Client } from "minio";
import { Agent, request } from "undici";
import { z } from "zod";

import { seal } from "../../../tools/verify/madmin.ts";
import type { Json } from "./wire.ts";

/** The provider's settings that are known here; `minioSsl` comes as JSON text. */
export const settingsSchema = z.object({
  /** host:port */
  minioServer: z.string().regex(/^[^/]+:\d+$/, "must be host:port"),
  minioUser: z.string(),
  minioPassword: z.string(),
  minioRegion: z.string().default("us-east-1"),
  minioSsl: z.union([z.boolean(), z.stringbool()]).default(false),
  /** Path of the authority's certificate. */
  minioCacertFile: z.string().optional(),
});
export type MinioSettings = z.infer<typeof settingsSchema>;

/** One call of MinIO's admin API. */
export interface AdminCall {
  readonly method: "GET" | "PUT" | "POST" | "DELETE";
  /** What follows `/minio/admin/v3/`, with the query. */
  readonly path: string;
  readonly body?: Json;
  /** Whether the body is sealed with the caller's secret key, as those that hold secrets are. */
  readonly isSealed?: boolean;
}

/** A refusal by MinIO, with its own code. */
export class MinioError extends Error {
  override readonly name = "MinioError";
  readonly code: string;

  constructor(message: string, code: string) {
    super(message);
    this.code = code;
  }
}

/** A server that has just become ready may still turn a call away, and a tunnel may take a moment to stand. */
const transientCodes = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "UND_ERR_SOCKET",
  "SlowDown",
  "ServerNotInitialized",
  "XMinioServerNotInitialized",
]);
const attempts = 10;
const pauseMs = 1000;
const timeoutMs = 30_000;

/** One server, as one user. Nothing is read or opened before the first call. */
export class MinioConnection {
  readonly settings: MinioSettings;
  readonly origin: string;
  #clients: Promise<{ s3: Client; agent: Agent }> | undefined;

  constructor(settings: MinioSettings) {
    this.settings = settings;
    this.origin = `${settings.minioSsl ? "https" : "http"}://${settings.minioServer}`;
  }

  /** Runs a call of S3's. @throws as minio-js does */
  async s3<T>(call: (client: Client) => Promise<T>): Promise<T> {
    const { s3 } = await this.#connected();
    return retried(() => call(s3));
  }

  /** @throws MinioError when MinIO refuses */
  async admin({ method, path, body, isSealed = false }: AdminCall): Promise<string> {
    const { minioUser, minioPassword, minioRegion } = this.settings;
    const { agent } = await this.#connected();
    const text = body === undefined ? "" : typeof body === "string" ? body : JSON.stringify(body);
    return retried(async () => {
      const content = isSealed ? seal(minioPassword, Buffer.from(text)) : Buffer.from(text);
      const url = `${this.origin}/minio/admin/v3/${path}`;
      const signer = new AwsV4Signer({
        method,
        url,
        headers: { "x-amz-content-sha256": createHash("sha256").update(content).digest("hex") },
        accessKeyId: minioUser,
        secretAccessKey: minioPassword,
        service: "s3",
        region: minioRegion,
      });
      const { headers } = await signer.sign();
      const response = await request(url, {
        method,
        headers: { ...Object.fromEntries(headers), "content-type": "application/octet-stream" },
        body: method === "GET" ? null : content,
        dispatcher: agent,
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
      });
      const answer = Buffer.from(await response.body.arrayBuffer()).toString("latin1");
      if (response.statusCode < 300) return answer;
      const code = /"Code":"(\w+)"|<Code>(\w+)</.exec(answer)?.slice(1).find(Boolean) ?? "without a code";
      const place = path.replace(/\?.*/s, "");
      throw new MinioError(`MinIO answers ${response.statusCode} ${code} to ${method} ${place}`, code);
    });
  }

  #connected(): Promise<{ s3: Client; agent: Agent }> {
    this.#clients ??= this.#connect();
    return this.#clients;
  }

  async #connect(): Promise<{ s3: Client; agent: Agent }> {
    const { minioServer, minioSsl, minioUser, minioPassword, minioRegion, minioCacertFile } = this.settings;
    const { hostname, port } = new URL(`https://${minioServer}`);
    const tls = minioCacertFile === undefined ? {} : { ca: await readFile(minioCacertFile) };
    const s3 = new Client({
      endPoint: hostname,
      port: Number(port || 443),
      useSSL: minioSsl,
      accessKey: minioUser,
      secretKey: minioPassword,
      region: minioRegion,
      transportAgent: minioSsl ? new HttpsAgent(tls) : new HttpAgent(),
    });
    return { s3, agent: new Agent({ connect: { ...tls, timeout: timeoutMs } }) };
  }
}

/** The code of an error of MinIO's, of minio-js's, or of the connection's. */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return "";
  return "code" in error && typeof error.code === "string" ? error.code : "";
}

async function retried<T>(call: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await call();
    } catch (error) {
      if (attempt === attempts || !transientCodes.has(codeOf(error))) throw error;
      await sleep(pauseMs);
    }
  }
}
