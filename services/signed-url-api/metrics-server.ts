import { createServer, type Server } from "node:https";

import { serverTls } from "../common/tls.ts";
import type { Metrics } from "./metrics.ts";

/**
 * The endpoint for Prometheus, on a port of its own, so that a NetworkPolicy can say who may use it. Without a
 * certificate, which the caller sets and renews.
 */
export function createMetricsServer({ render, contentType }: Metrics): Server {
  const options = { minVersion: serverTls.minVersion, requestTimeout: 10_000 };
  return createServer(options, (request, response) => {
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
