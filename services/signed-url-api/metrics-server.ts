import { createServer, type Server } from "node:https";

import type { Metrics } from "./metrics.ts";

/**
 * Prometheus' own door, apart from the users': who may knock is a NetworkPolicy's business. Without a
 * certificate, which the caller sets and renews.
 */
export function createMetricsServer({ render, contentType }: Metrics, minVersion: "TLSv1.2"): Server {
  return createServer({ minVersion, requestTimeout: 10_000 }, (request, response) => {
    if (request.url !== "/metrics" || request.method !== "GET") {
      response.writeHead(404).end();
      return;
    }
    render().then(
      (text) => response.writeHead(200, { "content-type": contentType }).end(text),
      () => response.writeHead(500).end(),
    );
  });
}
