import { createServer, type Server } from "node:https";
import type { Socket } from "node:net";

import { serverTls } from "../common/tls.ts";
import { headersTooLarge, invalidRequest } from "./problems.ts";

/** Of all headers together, in bytes. A token is the longest of them. */
const MAX_HEADER_BYTES = 16 * 1024;

/** A request must be in within this, in milliseconds, and an idle connection is kept for as long again. */
const requestTimeoutMs = 10_000;

/** Headers of every answer. */
export const commonHeaders = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "strict-transport-security": "max-age=63072000",
  vary: "accept, authorization, origin",
  "x-content-type-options": "nosniff",
};

/** An HTTPS server without a certificate, which the caller sets and renews. */
export const createListener = (): Server =>
  createServer({
    minVersion: serverTls.minVersion,
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: requestTimeoutMs,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: requestTimeoutMs,
  });

/** Answers what Node's parser refuses before there is a request. */
export function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable) return;
  const problem =
    error.code === "HPE_HEADER_OVERFLOW" ? headersTooLarge() : invalidRequest("The request can't be read.");
  const body = JSON.stringify(problem);
  const headers = {
    "content-type": "application/problem+json",
    "content-length": String(body.length),
    connection: "close",
    ...commonHeaders,
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  socket.end(`HTTP/1.1 ${problem.status} ${problem.title}\r\n${lines.join("\r\n")}\r\n\r\n${body}`);
}
