import type { FastifyReply } from "fastify";

import { StorageError } from "./jobs/storage.ts";

/**
 * An answer that is an error, as RFC 9457 describes it. `type` is stable: clients may switch on it.
 *
 * The body carries nothing of the single request (no instance, no request id): two requests with the same
 * problem get the same bytes, so that an absent job can't be distinguished from somebody else's.
 */
export class Problem extends Error {
  override readonly name = "Problem";
  readonly status: number;
  readonly slug: string;
  readonly title: string;
  readonly detail: string | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    slug: string,
    title: string,
    more: { detail?: string; headers?: Record<string, string>; cause?: Error } = {},
  ) {
    super(title, { cause: more.cause });
    this.status = status;
    this.slug = slug;
    this.title = title;
    this.detail = more.detail;
    this.headers = more.headers ?? {};
  }

  /** The body, of media type `application/problem+json`. */
  toJSON(): { type: string; title: string; status: number; detail: string | undefined } {
    const { status, title, detail } = this;
    return { type: `urn:problem-type:geocrop:${this.slug}`, title, status, detail };
  }
}

/** No such job, or not this user's: one answer for both (OWASP API1:2023). */
export const jobNotFound = (): Problem =>
  new Problem(404, "job-not-found", "No such job", {
    detail: "There is no job with this id among those you may read.",
  });

/** The job is the user's and has no result yet. */
export const resultNotReady = (): Problem =>
  new Problem(409, "result-not-ready", "The job has no result yet", {
    detail: "Ask again when the job has ended.",
    headers: { "retry-after": "30" },
  });

/** @param pattern - what an id must look like */
export const invalidJobId = (pattern: string): Problem =>
  new Problem(400, "invalid-job-id", "Not a job id", {
    detail: `A job id matches ^${pattern}$ and is not percent-encoded.`,
  });

/** @param detail - which part of the request, and what it must be */
export const invalidRequest = (detail: string): Problem =>
  new Problem(400, "invalid-request", "The request is not valid", { detail });

/** The body is longer than any that makes sense here. */
export const bodyTooLarge = (): Problem => new Problem(413, "body-too-large", "The body is too large");

export const headersTooLarge = (): Problem =>
  new Problem(431, "headers-too-large", "The request's address or headers are too large");

export const unsupportedMediaType = (): Problem =>
  new Problem(415, "unsupported-media-type", "The body must be JSON", {
    detail: "Send it as application/json.",
  });

/** @param retryAfter - in seconds */
export const tooManyRequests = (retryAfter: number): Problem =>
  new Problem(429, "too-many-requests", "Too many requests", {
    detail: "Ask again after the seconds that Retry-After names.",
    headers: { "retry-after": String(retryAfter) },
  });

/** No token: the challenge names no error (RFC 6750, section 3.1). */
export const tokenMissing = (): Problem =>
  new Problem(401, "token-missing", "A bearer token is needed", {
    headers: { "www-authenticate": 'Bearer realm="geocrop"' },
  });

/** @param cause - for the log; the client doesn't learn what is wrong with a token */
export const tokenInvalid = (cause: Error): Problem =>
  new Problem(401, "token-invalid", "The bearer token is not valid", {
    headers: { "www-authenticate": 'Bearer realm="geocrop", error="invalid_token"' },
    cause,
  });

/** Something the API depends on fails: all access is refused, and no job is reported absent. */
export const unavailable = (cause: Error): Problem =>
  new Problem(503, "unavailable", "The service can't answer now", { headers: { "retry-after": "5" }, cause });

export const routeNotFound = (): Problem => new Problem(404, "route-not-found", "No such address");

/** @param cause - the unexpected error, for the log only */
export const internalError = (cause: Error): Problem =>
  new Problem(500, "internal-error", "The service failed", { cause });

/** Problems of reading a body, by Fastify's error codes. */
const bodyProblems: Readonly<Record<string, () => Problem>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: bodyTooLarge,
  FST_ERR_CTP_INVALID_MEDIA_TYPE: unsupportedMediaType,
};

/** Any error as the problem to answer with. */
export function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof StorageError) return unavailable(error);
  if (!(error instanceof Error)) return internalError(new Error(String(error)));
  if ("code" in error && typeof error.code === "string") {
    const bodyProblem = bodyProblems[error.code];
    if (bodyProblem !== undefined) return bodyProblem();
  }
  const status = "statusCode" in error ? Number(error.statusCode) : 500;
  return status < 500 ? invalidRequest("The request can't be read.") : internalError(error);
}

export function sendProblem(reply: FastifyReply, problem: Problem): FastifyReply {
  return reply
    .code(problem.status)
    .headers(problem.headers)
    .type("application/problem+json")
    .send(JSON.stringify(problem));
}
