import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

/** What the API counts for Prometheus. */
export interface Metrics {
  /** One request is answered. */
  requestAnswered: (route: string, method: string, status: number, seconds: number) => void;
  /** One URL was handed out, newly signed or from the cache. */
  urlIssued: () => void;
  /** One read of storage ended. */
  storageRead: (outcome: "found" | "absent" | "failed", seconds: number) => void;
  /** All of it in the text format of Prometheus. */
  render: () => Promise<string>;
  contentType: string;
}

/**
 * @param keyAge - seconds since the issuer last served its keys; undefined when they are a file
 */
export function createMetrics(keyAge: () => number | undefined = () => undefined): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const requests = new Histogram({
    name: "geocrop_api_request_duration_seconds",
    help: "Time from a request's arrival to the end of its answer",
    labelNames: ["route", "method", "status"],
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5],
    registers,
  });
  const urls = new Counter({
    name: "geocrop_api_urls_issued_total",
    help: "Download URLs handed out",
    registers,
  });
  const reads = new Histogram({
    name: "geocrop_api_storage_read_duration_seconds",
    help: "Time that storage took to answer the API",
    labelNames: ["outcome"],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 3],
    registers,
  });
  new Gauge({
    name: "geocrop_api_issuer_keys_age_seconds",
    help: "Time since the token issuer last served its keys, where they are fetched from it",
    registers,
    collect() {
      this.set(keyAge() ?? 0);
    },
  });
  return {
    requestAnswered: (route, method, status, seconds) => requests.observe({ route, method, status }, seconds),
    urlIssued: () => urls.inc(),
    storageRead: (outcome, seconds) => reads.observe({ outcome }, seconds),
    render: () => registry.metrics(),
    contentType: registry.contentType,
  };
}
