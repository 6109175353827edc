import type { RoutePlugin } from "./openapi.ts";

/** What {@link probeRoutes} needs. */
export interface ProbeOptions {
  /** False once the API is stopping. */
  ready: () => boolean;
}

/** Probes are many and say nothing new, so they are not logged. */
const probe = { logLevel: "warn", schema: { hide: true } } as const;

/** `GET /healthz` and `GET /readyz`, for the kubelet. */
export const probeRoutes: RoutePlugin<ProbeOptions> = (app, { ready }, done) => {
  app.get("/healthz", probe, () => ({ status: "ok" }));
  // Does not ask storage: signing is local, and an outage there must not take every API pod out of service.
  app.get("/readyz", probe, (_request, reply) =>
    ready() ? { status: "ready" } : reply.code(503).send({ status: "stopping" }),
  );
  done();
};
