import type { FastifyReply, FastifyRequest } from "fastify";

import { acceptsJson } from "./accept.ts";
import type { App } from "../app.ts";
import type { Download, Downloads } from "../signing/downloads.ts";
import { safeFilename } from "../signing/filename.ts";
import { isDownloadTarget, isJobId, JOB_ID } from "../jobs/job-id.ts";
import type { Jobs } from "../jobs/jobs.ts";
import { answer, jobProblems, problems, redirect } from "./openapi.ts";
import { bodyTooLarge, invalidJobId, unsupportedMediaType, type Problem } from "../problems.ts";
import type { RecordIssue } from "../signing/record-issue.ts";
import * as schemas from "./schemas.ts";
import type { User } from "../auth/tokens.ts";

/** What the routes need. */
export interface DownloadRoutesOptions {
  jobs: Jobs;
  downloads: Downloads;
  recordIssue: RecordIssue;
  /** Seconds, for who asks for nothing else. */
  expirySeconds: number;
  /** Tells who asks, within their limits. @throws Problem 401, 429, 503 */
  signIn: (request: FastifyRequest, reply: FastifyReply) => Promise<void>;
  /** Counts more against the user's limit. @throws Problem 429 */
  spend: (request: FastifyRequest, reply: FastifyReply, cost: number) => void;
  /** Any error as the problem that its asker is told. */
  toProblem: (error: unknown) => Problem;
}

interface Wish {
  expires_in?: number | undefined;
  filename?: string | undefined;
}

/** Where a job's download is asked for. */
export const DOWNLOAD_ROUTE = "/api/v1/results/:job_id/download";

/** Before anything else looks at the path, or at the token: finding its key may already mean I/O. */
const checkPath = async ({ originalUrl }: FastifyRequest): Promise<void> => {
  if (!isDownloadTarget(originalUrl)) throw invalidJobId(JOB_ID);
};

/** Where a redirect leads: who asks by HEAD follows by HEAD, and a URL is signed for one method. */
const targetOf = ({ method }: FastifyRequest, { url, headUrl }: Download): string =>
  method === "HEAD" ? headUrl : url;

/** The routes that hand out URLs. */
export function addDownloadRoutes(app: App, options: DownloadRoutesOptions): void {
  const { jobs, downloads, recordIssue, expirySeconds, signIn, spend, toProblem } = options;

  const prepare = async (request: FastifyRequest, jobId: string, wish: Wish): Promise<Download> => {
    const user = request.getDecorator<User>("user");
    const result = await jobs.find(jobId, user).catch((error: unknown) => {
      request.log.info({ jobId, subject: user.subject, why: toProblem(error).slug }, "no URL issued");
      throw error;
    });
    return downloads.issue({
      jobId,
      result,
      user,
      expiresIn: wish.expires_in ?? expirySeconds,
      filename: safeFilename(wish.filename ?? "", `${jobId}.tif`),
    });
  };

  const record = (request: FastifyRequest, jobId: string, download: Download): Promise<void> => {
    const user = request.getDecorator<User>("user");
    const issue = { address: request.ip, user, jobId, download };
    return new Promise((written) => recordIssue(request.log, issue, written));
  };

  app.route({
    method: "GET",
    url: DOWNLOAD_ROUTE,
    schema: {
      operationId: "getDownload",
      tags: ["results"],
      summary: "A URL to download a job's result by",
      description:
        "JSON, or a redirect when `redirect=true` or when the Accept header takes no JSON. The same question within five minutes gets the same URL. HEAD is answered too; its redirect leads to the URL that is signed for HEAD.",
      params: schemas.jobParams,
      querystring: schemas.downloadQuery,
      response: {
        200: answer(schemas.download, "The URL and what it leads to."),
        302: redirect,
        ...problems,
        ...jobProblems,
      },
    },
    onRequest: [checkPath, signIn],
    handler: async (request, reply) => {
      const { job_id: jobId } = request.params;
      const download = await prepare(request, jobId, request.query);
      const { redirect: wanted } = request.query;
      if (wanted === "true" || (wanted === undefined && !acceptsJson(request.headers.accept))) {
        await record(request, jobId, download);
        return reply.redirect(targetOf(request, download), 302);
      }
      // A HEAD hands out none.
      if (request.method === "GET") await record(request, jobId, download);
      return reply.type("application/json; charset=utf-8").send(download.json);
    },
  });

  app.route({
    method: "GET",
    url: "/api/v1/results/:job_id/result.tif",
    schema: {
      operationId: "getResult",
      tags: ["results"],
      summary: "The result itself, by a redirect",
      description:
        "For GDAL, QGIS and others that open an address: they follow the redirect, and come back here when its URL has expired. HEAD is redirected to the URL that is signed for HEAD.",
      params: schemas.jobParams,
      querystring: schemas.wishQuery,
      response: { 302: redirect, ...problems, ...jobProblems },
    },
    onRequest: [checkPath, signIn],
    handler: async (request, reply) => {
      const { job_id: jobId } = request.params;
      const download = await prepare(request, jobId, request.query);
      await record(request, jobId, download);
      return reply.redirect(targetOf(request, download), 302);
    },
  });

  app.route({
    method: "POST",
    url: "/api/v1/results/download",
    schema: {
      operationId: "getDownloads",
      tags: ["results"],
      summary: "URLs for many jobs at once",
      description:
        "Each job gets a download or a problem of its own, in the order asked. Each counts against the limit.",
      body: schemas.batchBody,
      response: {
        200: answer(schemas.batchAnswer, "One entry for each job."),
        ...problems,
        413: { ...problems[400], description: "The body is too large." },
        415: { ...problems[400], description: "The body is not JSON." },
      },
    },
    onRequest: signIn,
    handler: async (request, reply) => {
      const { job_ids: jobIds, expires_in: expiresIn } = request.body;
      spend(request, reply, jobIds.length - 1);
      const entries = jobIds.map(async (jobId) => {
        const named = `{"job_id":${JSON.stringify(jobId)},`;
        try {
          if (!isJobId(jobId)) throw invalidJobId(JOB_ID);
          const download = await prepare(request, jobId, { expires_in: expiresIn });
          await record(request, jobId, download);
          return `${named}"download":${download.json}}`;
        } catch (error) {
          return `${named}"problem":${JSON.stringify(toProblem(error))}}`;
        }
      });
      const results = await Promise.all(entries);
      return reply.type("application/json; charset=utf-8").send(`{"results":[${results.join(",")}]}`);
    },
  });
}

/** Problems of reading a body, by Fastify's error codes. */
export const bodyProblems: Readonly<Record<string, () => Problem>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: bodyTooLarge,
  FST_ERR_CTP_INVALID_MEDIA_TYPE: unsupportedMediaType,
};
