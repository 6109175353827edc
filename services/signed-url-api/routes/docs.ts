import { docsPage, docsPolicy } from "./docs-page.ts";
import type { RoutePlugin } from "./openapi.ts";

const hidden = { schema: { hide: true } };

/** `GET /openapi.json` for programs and `GET /docs` for people. */
export const docsRoutes: RoutePlugin = (app, _options, done) => {
  app.get("/openapi.json", hidden, () => app.swagger());
  app.get("/docs", hidden, (_request, reply) =>
    reply
      .header("content-security-policy", docsPolicy)
      .type("text/html; charset=utf-8")
      .send(docsPage(app.swagger())),
  );
  done();
};
