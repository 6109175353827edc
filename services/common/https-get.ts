import type { IncomingHttpHeaders } from "node:http";
import { get, type Agent } from "node:https";

/** Bounds of one GET. */
export interface HttpGetOptions {
  headers?: Record<string, string>;
  /** A longer body is not read to its end. */
  maxBytes: number;
  /** For the whole exchange. */
  timeoutMs: number;
}

/** What came back. */
export interface HttpAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  /** Undefined when it was longer than `maxBytes`. */
  body: Buffer | undefined;
}

/** One GET; rejects when there is no whole answer in time. */
export type HttpGet = (url: string, options: HttpGetOptions) => Promise<HttpAnswer>;

/**
 * A GET over TLS through a pool of the caller's, which is what holds the CA: the global `fetch` can only be
 * given one for the whole process.
 *
 * @param agent - asked at each request, so that a renewed CA is used at once
 */
export function createHttpsGet(agent: () => Agent): HttpGet {
  return async function httpsGet(url, options): Promise<HttpAnswer> {
    const signal = AbortSignal.timeout(options.timeoutMs);
    return new Promise((resolve, reject) => {
      const request = get(url, { agent: agent(), headers: options.headers, signal }, (response) => {
        const chunks: Buffer[] = [];
        let length = 0;
        const done = (body: Buffer | undefined): void =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body });
        response.on("data", (chunk: Buffer) => {
          chunks.push(chunk);
          length += chunk.length;
          if (length > options.maxBytes) {
            done(undefined);
            response.destroy();
          }
        });
        response.on("end", () => done(Buffer.concat(chunks)));
        response.on("error", reject);
      });
      request.on("error", (error: NodeJS.ErrnoException) => {
        // The server closed an idle connection just as it was taken from the pool: nothing was sent yet.
        if (request.reusedSocket && error.code === "ECONNRESET") resolve(httpsGet(url, options));
        else reject(error);
      });
    });
  };
}
