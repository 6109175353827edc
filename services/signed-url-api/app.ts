import { randomUUID } from "node:crypto";
import type { Server as HttpServer } from "node:http";
import { createServer, type Server } from "node:https";
import type { Socket } from "node:net";

import cors from "@fastify/cors";
import Fastify, { LogController, type FastifyReply, type FastifyRequest } from "fastify";

import { docsPage, docsPolicy } from "./routes/docs-page.ts";
import { addDownloadRoutes, bodyProblems, DOWNLOAD_ROUTE } from "./routes/download-routes.ts";
import type { Downloads } from "./signing/downloads.ts";
import { createFastLane } from "./routes/fast-lane.ts";
import type { Jobs } from "./jobs/jobs.ts";
import { createLogLines, type LogSink } from "./log-lines.ts";
import type { Metrics } from "./metrics.ts";
import { compileValidator, describeRoutes, type ZodTypes } from "./routes/openapi.ts";
import {
  headersTooLarge,
  internalError,
  invalidRequest,
  Problem,
  routeNotFound,
  tooManyRequests,
  unavailable,
} from "./problems.ts";
import { createRateLimit, type RateLimit } from "./auth/rate-limit.ts";
import { createRecordIssue } from "./signing/record-issue.ts";
import type { Settings } from "./settings.ts";
import { StorageError } from "./jobs/storage.ts";
import type { Tokens, User } from "./auth/tokens.ts";

/** What the app needs from outside. */
export interface AppOptions {
  settings: Pick<Settings, "URL_EXPIRY_SECONDS" | "CORS_ORIGINS" | "RATE_PER_SUBJECT" | "RATE_PER_ADDRESS">;
  tokens: Tokens;
  jobs: Jobs;
  downloads: Downloads;
  metrics: Metrics;
  /** False from SIGTERM on: probes fail, and each answer closes its connection. */
  ready: () => boolean;
  /** @default standard output */
  logSink?: LogSink;
  /** Hears the requests. @default from `createListener` */
  listener?: HttpServer;
}

/** The app; `app.server` is its listener. */
export type App = Awaited<ReturnType<typeof buildApp>>;

/** The lowest TLS version spoken. */
export const TLS_MIN_VERSION = "TLSv1.2";

/** Of all headers together, in bytes. A token is the longest of them. */
const MAX_HEADER_BYTES = 16 * 1024;

/** In bytes: 100 job ids with room to spare. */
const MAX_BODY_BYTES = 32 * 1024;

/** A request must be in within this, in milliseconds, and an idle connection is kept for as long again. */
const REQUEST_TIMEOUT_MS = 10_000;

/** An HTTPS server without a certificate, which the caller sets, and renews. */
export const createListener = (): Server =>
  createServer({
    minVersion: TLS_MIN_VERSION,
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: REQUEST_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: REQUEST_TIMEOUT_MS,
  });

const commonHeaders = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "strict-transport-security": "max-age=63072000",
  vary: "accept, authorization, origin",
  "x-content-type-options": "nosniff",
};

/** Builds the API, listening nowhere yet. */
export async function buildApp(options: AppOptions) {
  const { settings, tokens, jobs, downloads, metrics, ready, logSink, listener = createListener() } = options;
  const perAddress = createRateLimit(settings.RATE_PER_ADDRESS);
  const perSubject = createRateLimit(settings.RATE_PER_SUBJECT);

  const expirySeconds = settings.URL_EXPIRY_SECONDS;
  const lines = createLogLines(logSink);
  const recordIssue = createRecordIssue(metrics, lines);
  const fastLane = createFastLane({
    tokens,
    jobs,
    downloads,
    perAddress,
    perSubject,
    expirySeconds,
    ready,
    headers: commonHeaders,
    record: (issue, written) => recordIssue(app.log, issue, written),
    answered: (seconds) => metrics.answered(DOWNLOAD_ROUTE, "GET", 200, seconds),
  });
  const app = Fastify({
    serverFactory: (handler) =>
      listener.on("request", (request, response) => {
        if (!fastLane(request, response)) handler(request, response);
      }),
    logger: {
      timestamp: createTimestamp(),
      serializers: { err: describeError },
      stream: lines,
    },
    // Fastify's own lines hold the request target with its query; see the onResponse hook for ours.
    logController: new LogController({ disableRequestLogging: true }),
    // A caller's id could be anything, a copy of somebody else's included.
    requestIdHeader: false,
    genReqId: () => randomUUID(),
    bodyLimit: MAX_BODY_BYTES,
    // What comes in on an open connection while the server closes is answered, not refused.
    return503OnClosing: false,
    // Longer than any target Node accepts: an overlong id gets our own answer.
    routerOptions: { maxParamLength: 20_000 },
    clientErrorHandler: answerBrokenRequest,
    frameworkErrors: (error, request, reply) => {
      setCommonHeaders(request, reply);
      sendProblem(
        reply,
        error.statusCode === 500 ? internalError(error) : invalidRequest("The path is not valid."),
      );
    },
  }).withTypeProvider<ZodTypes>();

  const setCommonHeaders = (request: FastifyRequest, reply: FastifyReply): void => {
    reply.headers(commonHeaders).header("x-request-id", request.id);
    if (!ready()) reply.header("connection", "close");
  };

  app.setValidatorCompiler(compileValidator);
  // Answers are made as text by who knows them; schemas only describe them.
  app.setSerializerCompiler(() => (value) => JSON.stringify(value));
  app.decorateRequest("user", null);

  app.addHook("onRequest", (request, reply, done) => {
    setCommonHeaders(request, reply);
    done();
  });
  app.addHook("onResponse", (request, reply, done) => {
    const { method, routeOptions } = request;
    const { url: route = "none" } = routeOptions;
    metrics.answered(route, method, reply.statusCode, reply.elapsedTime / 1000);
    request.log.info(
      { method, route, status: reply.statusCode, ms: Math.round(reply.elapsedTime) },
      "answered",
    );
    done();
  });
  await app.register(cors, {
    origin: settings.CORS_ORIGINS,
    methods: ["GET", "HEAD", "POST"],
    allowedHeaders: ["Authorization", "Content-Type"],
    exposedHeaders: ["ETag", "Location", "RateLimit", "Retry-After", "WWW-Authenticate", "X-Request-Id"],
    maxAge: 600,
  });
  await describeRoutes(app);

  app.setErrorHandler((error, request, reply) => {
    const problem = toProblem(error);
    request.log[problem.status >= 500 ? "error" : "info"](
      { problem: problem.slug, err: problem.cause },
      problem.title,
    );
    return sendProblem(reply, problem);
  });
  app.setNotFoundHandler((_request, reply) => sendProblem(reply, routeNotFound()));

  const signIn = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    count(perAddress, "address", request.ip, 1, reply);
    const { authorization } = request.headers;
    const user = tokens.known(authorization) ?? (await tokens.verify(authorization));
    request.setDecorator<User>("user", user);
    count(perSubject, "subject", user.subject, 1, reply);
  };

  // Probes are many and say nothing new.
  const probe = { logLevel: "warn", schema: { hide: true } } as const;
  app.get("/healthz", probe, () => ({ status: "ok" }));
  // Does not ask storage: signing is local, and an outage there must not take every API pod out of service.
  app.get("/readyz", probe, (_request, reply) =>
    ready() ? { status: "ready" } : reply.code(503).send({ status: "stopping" }),
  );

  addDownloadRoutes(app, {
    jobs,
    downloads,
    recordIssue,
    expirySeconds,
    signIn,
    spend: (request, reply, cost) =>
      count(perSubject, "subject", request.getDecorator<User>("user").subject, cost, reply),
    toProblem,
  });

  const hidden = { schema: { hide: true } };
  app.get("/openapi.json", hidden, () => app.swagger());
  app.get("/docs", hidden, (_request, reply) =>
    reply
      .header("content-security-policy", docsPolicy)
      .type("text/html; charset=utf-8")
      .send(docsPage(app.swagger())),
  );

  return app;
}

/** Takes from a limit, and tells the caller what is left. */
function count(limit: RateLimit, name: string, caller: string, cost: number, reply: FastifyReply): void {
  const { allowed, remaining, retryAfter } = limit(caller, cost);
  reply.header("ratelimit", `"${name}";r=${remaining};t=${retryAfter}`);
  if (!allowed) throw tooManyRequests(retryAfter);
}

function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof StorageError) return unavailable(error);
  if (!(error instanceof Error)) return internalError(new Error(String(error)));
  if ("code" in error && typeof error.code === "string") {
    const known = bodyProblems[error.code];
    if (known !== undefined) return known();
  }
  const status = "statusCode" in error ? Number(error.statusCode) : 500;
  return status < 500 ? invalidRequest("The request can't be read.") : internalError(error);
}

function sendProblem(reply: FastifyReply, problem: Problem): FastifyReply {
  return reply
    .code(problem.status)
    .headers(problem.headers)
    .type("application/problem+json")
    .send(JSON.stringify(problem));
}

/** Answers what Node's parser refuses before there is a request. */
function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
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

/** The time as log lines have it, spelled once a millisecond. */
function createTimestamp(): () => string {
  let latest = 0;
  let text = "";
  return () => {
    const now = Date.now();
    if (now !== latest) text = `,"time":"${new Date(now).toISOString()}"`;
    latest = now;
    return text;
  };
}
