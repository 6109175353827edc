import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";

import type { Batch, Journal, Reject } from "./journal.ts";
import { type Json, maskEvent, maskUnparsed } from "./mask.ts";
import { WeightedSemaphore } from "./weighted-semaphore.ts";

export interface AppOptions {
  readonly journal: Journal;
  /** Reads the expected bearer token; asked for each request, so that a rotated one holds at once. */
  readonly token: () => Promise<string>;
  /** Called with an error that the client must not see. */
  readonly report: (message: string, error: unknown) => void;
  /** Largest body read as events, in bytes. @default 8 MiB, eight times the longest URL MinIO takes */
  readonly bodyLimit?: number;
  /** Bytes of bodies held in memory at once; further requests wait unread. @default 16 MiB */
  readonly memoryLimit?: number;
}

/** How much of something unreadable is kept. */
const MAX_REJECT_BYTES = 64 * 1024;

/**
 * The receiver's HTTP side.
 *
 * MinIO repeats a refused event for ever and holds back all later ones meanwhile, so no body is ever refused:
 * what cannot be read goes to the quarantine and is answered 200 as well. 503 means that the disk failed and
 * that MinIO is to keep the event.
 */
export function createApp({
  journal,
  token,
  report,
  bodyLimit = 8 * 1024 * 1024,
  memoryLimit = 16 * 1024 * 1024,
}: AppOptions): RequestListener {
  const memory = new WeightedSemaphore(memoryLimit);

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url?.split("?", 1)[0];
    if (path === "/healthz" || path === "/readyz") {
      answer(response, 200, "ok\n");
    } else if (path !== "/audit") {
      refuse(response, 404);
    } else if (request.method !== "POST") {
      refuse(response, 405);
    } else if (!isBearer(request.headers.authorization, await token())) {
      refuse(response, 401);
    } else {
      // A body of unknown length may be as long as is read.
      const length = Number(request.headers["content-length"] ?? bodyLimit);
      await memory.run(Math.min(length, bodyLimit), async () =>
        journal.append(readBody(await receive(request, bodyLimit), bodyLimit)),
      );
      answer(response, 200);
    }
  }

  return (request, response) => {
    handle(request, response).catch((error: unknown) => {
      // The client closed the connection within its body: no answer is waited for, and the event will come again.
      if (request.destroyed && !request.complete) return;
      report("an audit request was not stored", error);
      refuse(response, 503);
    });
  };
}

function answer(response: ServerResponse, status: number, body = ""): void {
  response.writeHead(status, { "Content-Type": "text/plain" }).end(body);
}

/** Answers without having read the body, which is why the connection cannot be used again. */
function refuse(response: ServerResponse, status: number): void {
  if (response.headersSent) return;
  response.setHeader("Connection", "close");
  if (status === 401) response.setHeader("WWW-Authenticate", "Bearer");
  answer(response, status);
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

/** Compares digests, so that neither content nor length shows in the time taken. */
function isBearer(header: string | undefined, token: string): boolean {
  return token !== "" && timingSafeEqual(digest(header ?? ""), digest(`Bearer ${token}`));
}

interface Received {
  /** The body, or its beginning if it exceeds the limit. */
  readonly body: Buffer;
  readonly bytes: number;
}

/** Takes in a body to its end, keeping no more than the limit in memory. */
async function receive(request: IncomingMessage, limit: number): Promise<Received> {
  const kept: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    if (!Buffer.isBuffer(chunk)) throw new TypeError("the request stream has an encoding set");
    if (bytes < limit) kept.push(chunk.subarray(0, limit - bytes));
    bytes += chunk.length;
  }
  return { body: Buffer.concat(kept), bytes };
}

/** One JSON object, or one a line (MinIO's batches), masked; anything else becomes a reject. */
function readBody({ body, bytes }: Received, limit: number): Batch {
  if (bytes > limit) return { events: [], rejects: [toReject(`longer than ${limit} bytes`, body, bytes)] };
  const text = body.toString();
  const whole = toEvent(text);
  if (whole !== undefined) return { events: [whole], rejects: [] };
  const events: string[] = [];
  const rejects: Reject[] = [];
  for (const line of text.split("\n").filter((line) => line.trim() !== "")) {
    const event = toEvent(line);
    if (event === undefined) rejects.push(toReject("not a JSON object", Buffer.from(line)));
    else events.push(event);
  }
  return events.length + rejects.length === 0
    ? { events, rejects: [toReject("empty", body)] }
    : { events, rejects };
}

/** The masked event as one line, or undefined if the text is not an object (or is nested too deep to be walked). */
function toEvent(text: string): string | undefined {
  try {
    const value: Json = JSON.parse(text);
    if (value === null || typeof value !== "object" || Array.isArray(value)) return undefined;
    return JSON.stringify(maskEvent(value));
  } catch {
    return undefined;
  }
}

function toReject(reason: string, text: Buffer, bytes = text.length): Reject {
  return { reason, bytes, text: maskUnparsed(text.toString("utf8", 0, MAX_REJECT_BYTES)) };
}
