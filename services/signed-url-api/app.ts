import { randomUUID } from "node:crypto";
import type { Server as HttpServer } from "node:http";

import cors from "@fastify/cors";
import Fastify, {
  LogController,
  type FastifyBaseLogger,
  type FastifyReply,
  type FastifyRequest,
} from "fastify";

import type { Logger } from "../common/log.ts";
import { createSignIn } from "./auth/sign-in.ts";
import type { Tokens } from "./auth/tokens.ts";
import type { Jobs } from "./jobs/jobs.ts";
import { answerBrokenRequest, commonHeaders, createListener } from "./listener.ts";
import type { LogWriter } from "./log-writer.ts";
import type { Metrics } from "./metrics.ts";
import { internalError, invalidRequest, routeNotFound, sendProblem, toProblem } from "./problems.ts";
import { batchRoute } from "./routes/batch.ts";
import { docsRoutes } from "./routes/docs.ts";
import { downloadRoute } from "./routes/download.ts";
import { compileValidator, describeRoutes, type App, type ZodTypes } from "./routes/openapi.ts";
import { probeRoutes } from "./routes/probes.ts";
import { resultRoute } from "./routes/result.ts";
import { createUrlIssuer } from "./routes/url-issuer.ts";
import type { Settings } from "./settings.ts";
import type { Downloads } from "./signing/downloads.ts";

/** What the app needs from outside. */
export interface AppOptions {
  settings: Pick<Settings, "URL_EXPIRY_SECONDS" | "CORS_ORIGINS" | "RATE_PER_SUBJECT" | "RATE_PER_ADDRESS">;
  tokens: Tokens;
  jobs: Jobs;
  downloads: Downloads;
  metrics: Metrics;
  /** False from SIGTERM on: probes fail, and each answer closes its connection. */
  ready: () => boolean;
  log: Logger;
  /** What `log` writes to: no URL leaves before its line is written. */
  logWriter: LogWriter;
  /** Receives the requests. @default from `createListener` */
  listener?: HttpServer;
}

/** In bytes: 100 job ids with room to spare. */
const MAX_BODY_BYTES = 32 * 1024;

/** Builds the API, listening nowhere yet. */
export async function buildApp(options: AppOptions): Promise<App> {
  const { settings, tokens, jobs, downloads, metrics, ready, log, logWriter } = options;
  const app = createFastify(options.listener ?? createListener(), log, ready);
  addHooks(app, metrics, ready);
  await app.register(cors, {
    origin: settings.CORS_ORIGINS,
    methods: ["GET", "HEAD", "POST"],
    allowedHeaders: ["Authorization", "Content-Type"],
    exposedHeaders: ["ETag", "Location", "RateLimit", "Retry-After", "WWW-Authenticate", "X-Request-Id"],
    maxAge: 600,
  });
  await describeRoutes(app);

  const expirySeconds = settings.URL_EXPIRY_SECONDS;
  const issuer = createUrlIssuer({ jobs, downloads, metrics, logWriter, expirySeconds });
  const perSubject = settings.RATE_PER_SUBJECT;
  const signIn = createSignIn({ tokens, perSubject, perAddress: settings.RATE_PER_ADDRESS });
  await app.register(probeRoutes, { ready });
  await app.register(downloadRoute, { issuer, signIn });
  await app.register(resultRoute, { issuer, signIn });
  await app.register(batchRoute, { issuer, signIn });
  await app.register(docsRoutes);
  return app;
}

function createFastify(listener: HttpServer, loggerInstance: FastifyBaseLogger, ready: () => boolean): App {
  return Fastify({
    serverFactory: (handler) => listener.on("request", handler),
    loggerInstance,
    // Fastify's own lines hold the request target with its query; see the onResponse hook for ours.
    logController: new LogController({ disableRequestLogging: true }),
    // A client's id could be anything, a copy of somebody else's included.
    requestIdHeader: false,
    genReqId: () => randomUUID(),
    bodyLimit: MAX_BODY_BYTES,
    // What comes in on an open connection while the server closes is answered, not refused.
    return503OnClosing: false,
    // Longer than any target Node accepts: an overlong id gets our own answer.
    routerOptions: { maxParamLength: 20_000 },
    clientErrorHandler: answerBrokenRequest,
    frameworkErrors: (error, request, reply) => {
      setCommonHeaders(request, reply, ready());
      sendProblem(
        reply,
        error.statusCode === 500 ? internalError(error) : invalidRequest("The path is not valid."),
      );
    },
  }).withTypeProvider<ZodTypes>();
}

/** What happens to every request, whatever its route. */
function addHooks(app: App, metrics: Metrics, ready: () => boolean): void {
  app.setValidatorCompiler(compileValidator);
  // Answers are made as text by their handlers; schemas only describe them.
  app.setSerializerCompiler(() => (value) => JSON.stringify(value));
  app.decorateRequest("user", null);
  app.decorateRequest("urlIssued", false);
  app.addHook("onRequest", (request, reply, done) => {
    setCommonHeaders(request, reply, ready());
    done();
  });
  app.addHook("onResponse", (request, reply, done) => {
    const { method, routeOptions } = request;
    const { url: route = "none" } = routeOptions;
    metrics.requestAnswered(route, method, reply.statusCode, reply.elapsedTime / 1000);
    // Issued URLs have lines of their own, which nodes keep the longer the fewer others there are.
    if (!request.getDecorator<boolean>("urlIssued")) {
      const ms = Math.round(reply.elapsedTime);
      request.log.info({ method, route, status: reply.statusCode, ms }, "answered");
    }
    done();
  });
  app.setErrorHandler((error, request, reply) => {
    const problem = toProblem(error);
    request.log[problem.status >= 500 ? "error" : "info"](
      { problem: problem.slug, err: problem.cause },
      problem.title,
    );
    return sendProblem(reply, problem);
  });
  app.setNotFoundHandler((_request, reply) => sendProblem(reply, routeNotFound()));
}

function setCommonHeaders(request: FastifyRequest, reply: FastifyReply, ready: boolean): void {
  reply.headers(commonHeaders).header("x-request-id", request.id);
  if (!ready) reply.header("connection", "close");
}
