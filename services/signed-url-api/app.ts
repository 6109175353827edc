import { randomUUID } from "node:crypto";
import type { Writable } from "node:stream";

import Fastify, { LogController, type FastifyError, type FastifyReply, type FastifyRequest } from "fastify";

import { newIssuance } from "./issuance.ts";
import { JOB_ID, jobIdFromTarget } from "./job-id.ts";
import { mayRead } from "./ownership.ts";
import type { Presign } from "./presign.ts";
import {
  internalError,
  invalidJobId,
  invalidRequest,
  jobNotFound,
  Problem,
  resultNotReady,
  routeNotFound,
  unavailable,
} from "./problems.ts";
import { EXPIRY, type Settings } from "./settings.ts";
import { StorageError, type Storage } from "./storage.ts";
import type { Authenticate } from "./tokens.ts";

/** What the app needs from outside. */
export interface AppOptions {
  settings: Pick<Settings, "JWT_ISSUER" | "RESULTS_BUCKET" | "URL_EXPIRY_SECONDS">;
  authenticate: Authenticate;
  storage: Storage;
  /** Signs for the address that users call. */
  presign: Presign;
  /** False from SIGTERM on: probes fail, and each answer closes its connection. */
  ready: () => boolean;
  /** @default the clock */
  now?: () => Date;
  /** @default standard output */
  logStream?: Writable;
}

/** The app, TLS but for its certificate, which the caller sets (and renews) on `app.server`. */
export type App = ReturnType<typeof buildApp>;

/** The lowest TLS version spoken. */
export const TLS_MIN_VERSION = "TLSv1.2";

/** Body of a successful answer. */
const downloadSchema = {
  type: "object",
  required: ["job_id", "url", "expires_at", "size"],
  properties: {
    job_id: { type: "string" },
    url: { type: "string", description: "GET this without an Authorization header" },
    expires_at: { type: "string", description: "RFC 3339; the URL is refused from then on" },
    size: { type: "integer", description: "bytes" },
    etag: { type: "string" },
    content_type: { type: "string" },
  },
} as const;

/** Builds the API, listening nowhere yet. */
export function buildApp(options: AppOptions) {
  const { settings, authenticate, storage, presign, ready, now = () => new Date(), logStream } = options;

  const app = Fastify({
    https: { minVersion: TLS_MIN_VERSION },
    logger: {
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      serializers: { err: describeError },
      ...(logStream && { stream: logStream }),
    },
    // Fastify's own lines hold the request target with its query; see the onResponse hook for ours.
    logController: new LogController({ disableRequestLogging: true }),
    // A caller's id could be anything, a copy of somebody else's included.
    requestIdHeader: false,
    genReqId: () => randomUUID(),
    bodyLimit: 1024,
    requestTimeout: 10_000,
    // What comes in on an open connection while the server closes is answered, not refused.
    return503OnClosing: false,
    // Longer than any target Node accepts: an overlong id gets our own answer.
    routerOptions: { maxParamLength: 20_000 },
    frameworkErrors: (error, request, reply) => {
      setCommonHeaders(request, reply);
      sendProblem(
        reply,
        error.statusCode === 500 ? internalError(error) : invalidRequest("The path is not valid."),
      );
    },
  });

  const setCommonHeaders = (request: FastifyRequest, reply: FastifyReply): void => {
    reply.headers({
      "x-request-id": request.id,
      "cache-control": "no-store",
      "referrer-policy": "no-referrer",
      "x-content-type-options": "nosniff",
    });
    if (!ready()) reply.header("connection", "close");
  };

  app.addHook("onRequest", async (request, reply) => {
    setCommonHeaders(request, reply);
  });
  app.addHook("onResponse", async (request, reply) => {
    request.log.info(
      {
        method: request.method,
        route: request.routeOptions.url,
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
      },
      "answered",
    );
  });

  app.setErrorHandler<FastifyError>((error, request, reply) => {
    const problem = toProblem(error);
    request.log[problem.status >= 500 ? "error" : "info"](
      { problem: problem.slug, err: problem.cause },
      problem.title,
    );
    return sendProblem(reply, problem);
  });
  app.setNotFoundHandler((_request, reply) => sendProblem(reply, routeNotFound()));

  app.get("/healthz", { logLevel: "warn" }, () => ({ status: "ok" }));
  // Does not ask storage: signing is local, and an outage there must not take every API pod out of service.
  app.get("/readyz", { logLevel: "warn" }, (_request, reply) =>
    ready() ? { status: "ready" } : reply.code(503).send({ status: "stopping" }),
  );

  app.route<{ Querystring: { expires_in?: unknown } }>({
    method: "GET",
    url: "/api/v1/results/:job_id/download",
    schema: { response: { 200: downloadSchema } },
    handler: async (request) => {
      // Before the token: finding its key may already mean I/O.
      const jobId = jobIdFromTarget(request.originalUrl);
      if (jobId === undefined) throw invalidJobId(JOB_ID);
      const expiresIn = expirySeconds(request.query.expires_in, settings.URL_EXPIRY_SECONDS);
      const subject = await authenticate(request.headers.authorization);
      const log = request.log.child({ jobId, subject });
      if (!(await mayRead(storage, jobId, subject))) {
        log.info("access refused");
        throw jobNotFound();
      }

      const key = `jobs/${jobId}/result.tif`;
      // One byte tells that it is there, its size and etag: the identity that signs may not HEAD.
      const result = await storage.read(key, { range: "0-0", maxBytes: 4096 });
      if (result === undefined) throw resultNotReady();

      const issuance = newIssuance(settings.JWT_ISSUER, subject);
      const { url, expiresAt } = presign({
        path: `/${settings.RESULTS_BUCKET}/${key}`,
        expiresIn,
        now: now(),
        query: { ...issuance },
      });
      // The API's half of the audit trail: who was given which URL. A HEAD hands out none.
      if (request.method === "GET")
        log.info({ ...issuance, expiresAt: expiresAt.toISOString() }, "URL issued");
      return {
        job_id: jobId,
        url,
        expires_at: expiresAt.toISOString(),
        size: result.size,
        etag: result.etag,
        content_type: result.contentType,
      };
    },
  });

  return app;
}

/**
 * The life of a URL as the query asks for it.
 *
 * Not left to a schema: Ajv coerces "Infinity" to a number and then skips the bounds for it (seen on Ajv 8 in
 * Fastify 5.12).
 */
function expirySeconds(asked: unknown, fallback: number): number {
  if (asked === undefined) return fallback;
  const seconds = typeof asked === "string" && /^[0-9]{1,6}$/.test(asked) ? Number(asked) : 0;
  if (seconds < EXPIRY.min || seconds > EXPIRY.max) {
    throw invalidRequest(
      `The query parameter expires_in must be a whole number of seconds from ${EXPIRY.min} to ${EXPIRY.max}.`,
    );
  }
  return seconds;
}

function toProblem(error: FastifyError | Problem): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof StorageError) return unavailable(error);
  if (error.statusCode !== undefined && error.statusCode < 500)
    return invalidRequest("The request can't be read.");
  return internalError(error);
}

function sendProblem(reply: FastifyReply, problem: Problem): FastifyReply {
  return reply
    .code(problem.status)
    .headers(problem.headers)
    .type("application/problem+json")
    .send(problem.body());
}

/**
 * An error as it may stand in the log: of what kind, where and why, and none of the properties that libraries hang
 * on it (jose: the token's claims).
 */
function describeError(error: Error): { type: string; message: string; stack: string } {
  return {
    type: error.name,
    message: error.message,
    stack: error.stack ?? "",
    ...("code" in error && { code: error.code }),
    ...(error.cause instanceof Error && { cause: describeError(error.cause) }),
  };
}
