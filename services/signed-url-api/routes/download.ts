import type { FastifyRequest } from "fastify";

import type { SignIn } from "../auth/sign-in.ts";
import { isDownloadTarget, jobIdPattern } from "../jobs/job-id.ts";
import { invalidJobId } from "../problems.ts";
import type { Download } from "../signing/downloads.ts";
import { acceptsJson } from "./accept.ts";
import { answer, jobProblems, problems, redirect, type RoutePlugin } from "./openapi.ts";
import * as schemas from "./schemas.ts";
import type { UrlIssuer } from "./url-issuer.ts";

/** What the routes that hand out URLs need. */
export interface UrlRouteOptions {
  issuer: UrlIssuer;
  signIn: SignIn;
}

/** Before anything else looks at the path, or at the token: finding its key may already mean I/O. */
export const checkPath = async ({ originalUrl }: FastifyRequest): Promise<void> => {
  if (!isDownloadTarget(originalUrl)) throw invalidJobId(jobIdPattern);
};

/** Where a redirect leads: a HEAD request is redirected to the URL for HEAD, since a URL is signed for one method. */
export const redirectTarget = ({ method }: FastifyRequest, { url, headUrl }: Download): string =>
  method === "HEAD" ? headUrl : url;

/** `GET /api/v1/results/:job_id/download`: one job's URL, as JSON or by a redirect. */
export const downloadRoute: RoutePlugin<UrlRouteOptions> = (app, { issuer, signIn }, done) => {
  app.route({
    method: "GET",
    url: "/api/v1/results/:job_id/download",
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
    onRequest: [checkPath, signIn.onRequest],
    handler: async (request, reply) => {
      const { job_id: jobId } = request.params;
      const download = await issuer.prepare(request, jobId, request.query);
      const { redirect: wanted } = request.query;
      if (wanted === "true" || (wanted === undefined && !acceptsJson(request.headers.accept))) {
        await issuer.record(request, jobId, download);
        return reply.redirect(redirectTarget(request, download), 302);
      }
      // The answer to a HEAD holds no URL.
      if (request.method === "GET") await issuer.record(request, jobId, download);
      return reply.type("application/json; charset=utf-8").send(download.json);
    },
  });
  done();
};
