import { X509Certificate } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";

import { Agent, request, type Dispatcher } from "undici";

import { serverTls } from "./tls.ts";

/** One request, and the bounds of its answer. */
export interface HttpsRequest {
  /** @default GET */
  method?: "GET" | "POST";
  headers?: Record<string, string>;
  body?: string;
  /** A longer answer is not read to its end. */
  maxBytes: number;
  /** For the whole exchange, in milliseconds. */
  timeoutMs: number;
}

/** The answer, whatever its status. A redirect is an answer too: none is followed. */
export interface HttpsResponse {
  status: number;
  headers: IncomingHttpHeaders;
  /** Undefined when it was longer than `maxBytes`. */
  body: Buffer | undefined;
}

/** Sends one request. Rejects when there is no whole answer in time. */
export type HttpsSend = (url: string, request: HttpsRequest) => Promise<HttpsResponse>;

/** Connections kept open to one server. */
const MAX_CONNECTIONS = 64;

/**
 * An HTTPS client that keeps its connections, and trusts authorities of its own: the global `fetch` can only be given
 * some for the whole process.
 */
export class HttpsClient {
  #agent: Agent;

  /** @param ca - the only authorities trusted; by default those that Node brings */
  constructor(ca?: Buffer | string[]) {
    this.#agent = createAgent(ca);
  }

  /**
   * Trusts these authorities from now on. Requests under way end on their old connections.
   *
   * @throws when they are not certificates
   */
  trust(ca: Buffer): void {
    // What TLS makes of other text is an empty list, and no error.
    void new X509Certificate(ca);
    const former = this.#agent;
    this.#agent = createAgent(ca);
    void former.close();
  }

  readonly send: HttpsSend = async (url, { method = "GET", headers, body, maxBytes, timeoutMs }) => {
    const options: Options = {
      dispatcher: this.#agent,
      method,
      headers: headers ?? {},
      body: body ?? null,
      signal: AbortSignal.timeout(timeoutMs),
    };
    const response = await request(url, options).catch((error: unknown) => {
      // The server may have closed an idle connection just as it was taken; a GET can be sent again.
      if (method === "GET" && isClosedConnection(error)) return request(url, options);
      throw error;
    });
    const { statusCode: status, headers: answered } = response;
    return { status, headers: answered, body: await readBody(response.body, maxBytes) };
  };

  /** Ends all connections. */
  async close(): Promise<void> {
    await this.#agent.destroy();
  }
}

type Options = { dispatcher: Dispatcher } & Omit<Dispatcher.RequestOptions, "origin" | "path">;

function createAgent(ca: Buffer | string[] | undefined): Agent {
  const { minVersion } = serverTls;
  return new Agent({ connections: MAX_CONNECTIONS, connect: { minVersion, ...(ca && { ca }) } });
}

function isClosedConnection(error: unknown): boolean {
  return (
    error instanceof Error && "code" in error && ["UND_ERR_SOCKET", "ECONNRESET"].includes(String(error.code))
  );
}

/** @returns undefined for a body longer than `maxBytes`, whose connection is then closed */
async function readBody(
  body: Dispatcher.ResponseData["body"],
  maxBytes: number,
): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body) {
    if (!Buffer.isBuffer(chunk)) throw new TypeError("the response has an encoding set");
    chunks.push(chunk);
    length += chunk.length;
    // Leaving the loop destroys the response.
    if (length > maxBytes) return undefined;
  }
  return Buffer.concat(chunks);
}
