import { checkPath, redirectTarget, type UrlRouteOptions } from "./download.ts";
import { jobProblems, problems, redirect, type RoutePlugin } from "./openapi.ts";
import * as schemas from "./schemas.ts";

/** `GET /api/v1/results/:job_id/result.tif`: one job's result, always by a redirect. */
export const resultRoute: RoutePlugin<UrlRouteOptions> = (app, { issuer, signIn }, done) => {
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
      querystring: schemas.urlQuery,
      response: { 302: redirect, ...problems, ...jobProblems },
    },
    onRequest: [checkPath, signIn.onRequest],
    handler: async (request, reply) => {
      const { job_id: jobId } = request.params;
      const download = await issuer.prepare(request, jobId, request.query);
      await issuer.record(request, jobId, download);
      return reply.redirect(redirectTarget(request, download), 302);
    },
  });
  done();
};
