import { isJobId, jobIdPattern } from "../jobs/job-id.ts";
import { invalidJobId, toProblem } from "../problems.ts";
import type { UrlRouteOptions } from "./download.ts";
import { answer, problems, type RoutePlugin } from "./openapi.ts";
import * as schemas from "./schemas.ts";

/** `POST /api/v1/results/download`: the URLs of many jobs. */
export const batchRoute: RoutePlugin<UrlRouteOptions> = (app, { issuer, signIn }, done) => {
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
    onRequest: signIn.onRequest,
    handler: async (request, reply) => {
      const { job_ids: jobIds, expires_in: expiresIn } = request.body;
      // The request itself was counted as one.
      signIn.count(request, reply, jobIds.length - 1);
      const entries = jobIds.map(async (jobId) => {
        const named = `{"job_id":${JSON.stringify(jobId)},`;
        try {
          if (!isJobId(jobId)) throw invalidJobId(jobIdPattern);
          const download = await issuer.prepare(request, jobId, { expires_in: expiresIn });
          await issuer.record(request, jobId, download);
          return `${named}"download":${download.json}}`;
        } catch (error) {
          return `${named}"problem":${JSON.stringify(toProblem(error))}}`;
        }
      });
      const results = await Promise.all(entries);
      return reply.type("application/json; charset=utf-8").send(`{"results":[${results.join(",")}]}`);
    },
  });
  done();
};
