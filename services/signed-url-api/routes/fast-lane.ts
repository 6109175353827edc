import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";

import { acceptsJson } from "./accept.ts";
import type { Downloads } from "../signing/downloads.ts";
import type { Jobs } from "../jobs/jobs.ts";
import { jobIdOfPlainDownload } from "../jobs/job-id.ts";
import type { RateLimit } from "../auth/rate-limit.ts";
import type { Issue } from "../signing/record-issue.ts";
import type { Tokens } from "../auth/tokens.ts";

/** What the fast lane shares with the routes. */
export interface FastLaneOptions {
  tokens: Tokens;
  jobs: Jobs;
  downloads: Downloads;
  perAddress: RateLimit;
  perSubject: RateLimit;
  expirySeconds: number;
  ready: () => boolean;
  headers: Readonly<Record<string, string>>;
  /** Logs the API's half of the audit trail, and calls back once that is written. */
  record: (issue: Issue, written: () => void) => void;
  /** Told what was answered, after so many seconds. */
  answered: (seconds: number) => void;
}

/**
 * Answers the one request that nearly all requests are: a plain GET of a job's download, as JSON, by a user whose
 * token and job are known from the last half minute. It asks the same caches and the same limits as the route, and
 * leaves everything else, every refusal included, to the route.
 *
 * It is there because the framework's own work is more than this answer's (docs/benchmarks.md).
 *
 * @returns whether it answered; if not, nothing was sent
 */
export function createFastLane(options: FastLaneOptions) {
  const { tokens, jobs, downloads, perAddress, perSubject, expirySeconds, ready, record, answered } = options;
  const commonHeaders = Object.entries(options.headers).flat();

  return (request: IncomingMessage, response: ServerResponse): boolean => {
    const began = performance.now();
    const { method, url = "", headers: asked, socket } = request;
    // An Origin needs an answer of its own, and a stopping server closes its connections.
    if (method !== "GET" || asked.origin !== undefined || !ready() || !acceptsJson(asked.accept))
      return false;
    const jobId = jobIdOfPlainDownload(url);
    const user = jobId && tokens.known(asked.authorization);
    const result = user && jobs.known(jobId, user);
    if (!result) return false;
    const address = socket.remoteAddress ?? "";
    if (!perAddress(address).allowed) return false;
    const { allowed, remaining } = perSubject(user.subject);
    if (!allowed) return false;

    const download = downloads.issue({
      jobId,
      result,
      user,
      expiresIn: expirySeconds,
      filename: `${jobId}.tif`,
    });
    const reqId = randomUUID();
    record({ reqId, address, user, jobId, download }, () => {
      response.writeHead(200, [
        ...commonHeaders,
        "x-request-id",
        reqId,
        "ratelimit",
        `"subject";r=${remaining};t=0`,
        "content-type",
        "application/json; charset=utf-8",
        "content-length",
        String(download.bytes),
      ]);
      // ASCII, as it nearly always is, is the same in Latin-1, which Node writes faster.
      response.end(download.json, download.bytes === download.json.length ? "latin1" : "utf8");
      answered((performance.now() - began) / 1000);
    });
    return true;
  };
}
