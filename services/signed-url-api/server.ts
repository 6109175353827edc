import { once } from "node:events";
import type { Server as NetServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { HttpsClient } from "../common/https-client.ts";
import { createLogger, standardOutput, type LogSink } from "../common/log.ts";
import { followFiles } from "../common/mounted-files.ts";
import { runService } from "../common/run-service.ts";
import { serverTls } from "../common/tls.ts";
import { buildApp } from "./app.ts";
import { openIssuerKeys } from "./auth/issuer-keys.ts";
import { createTokens } from "./auth/tokens.ts";
import { createJobs } from "./jobs/jobs.ts";
import { createStorage } from "./jobs/storage.ts";
import { createListener } from "./listener.ts";
import { createLogWriter } from "./log-writer.ts";
import { createMetricsServer } from "./metrics-server.ts";
import { createMetrics } from "./metrics.ts";
import { readSettings, type Settings } from "./settings.ts";
import { followCredentials } from "./signing/credentials.ts";
import { createDownloads } from "./signing/downloads.ts";
import { createPresigner, type Presign } from "./signing/presign.ts";

/** After SIGTERM the API keeps serving for so long, in ms, until every node has taken the pod out of the Service. */
const defaultDrainMs = 5000;

/** A running API. */
export interface Server {
  /** The port it listens on. */
  port: number;
  /** The port of its metrics. */
  metricsPort: number;
  /** Reads the mounted files now instead of at the next poll. */
  refresh: () => Promise<void>;
  /**
   * Fails readiness, keeps serving for a while, finishes what is under way, ends.
   *
   * @param drainMs - how long to keep serving, in milliseconds. @default 5000
   */
  stop: (drainMs?: number) => Promise<void>;
}

/**
 * Starts the API with the files that the settings name, and follows those files from then on.
 *
 * @throws when a file is missing or not usable, or a port is taken
 */
export async function startServer(settings: Settings, logSink: LogSink = standardOutput()): Promise<Server> {
  const logWriter = createLogWriter(logSink);
  const log = createLogger(logWriter);
  const files = followFiles(log);
  let stopping = false;

  const issuerKeys = await openIssuerKeys(settings, files, log, () => tokens.invalidate());
  const metrics = createMetrics(issuerKeys.age);
  const tokens = createTokens({
    issuer: settings.JWT_ISSUER,
    audience: settings.JWT_AUDIENCE,
    algorithms: settings.JWT_ALGORITHMS,
    keys: issuerKeys.find,
    admin: settings.ADMIN_CLAIM,
  });

  const credentials = await followCredentials(settings.CREDENTIALS_DIR, files, () => {
    downloads.invalidate();
    jobs.invalidate();
  });
  const presignFor = (origin: string): Presign => createPresigner(origin, settings.S3_REGION, credentials);
  const bucket = settings.RESULTS_BUCKET;
  const storageClient = new HttpsClient();
  await files.follow([settings.S3_CA_FILE], (ca) => storageClient.trust(ca));
  const { send } = storageClient;
  const onRead = metrics.storageRead;
  const jobs = createJobs(createStorage({ bucket, presign: presignFor(settings.S3_ENDPOINT), send, onRead }));
  const downloads = createDownloads({ bucket, presign: presignFor(settings.DOWNLOAD_URL) });

  const ready = (): boolean => !stopping;
  const listener = createListener();
  const app = await buildApp({ settings, tokens, jobs, downloads, metrics, ready, log, logWriter, listener });
  const metricsServer = createMetricsServer(metrics);
  const certificate = ["tls.crt", "tls.key"].map((name) => join(settings.TLS_DIR, name));
  await files.follow(certificate, (cert, key) => {
    // Throws when key and certificate don't belong together.
    const context = { cert, key, ...serverTls };
    listener.setSecureContext(context);
    metricsServer.setSecureContext(context);
  });

  const address = await app.listen({ host: "0.0.0.0", port: settings.PORT });
  await once(metricsServer.listen(settings.METRICS_PORT, "0.0.0.0"), "listening");
  return {
    port: Number(new URL(address).port),
    metricsPort: portOf(metricsServer),
    refresh: files.refresh,
    stop: async (drainMs = defaultDrainMs) => {
      stopping = true;
      log.info({ drainMs }, "stopping");
      await sleep(drainMs);
      await app.close();
      metricsServer.close().closeAllConnections();
      files.stop();
      await Promise.all([issuerKeys.stop(), storageClient.close()]);
    },
  };
}

function portOf(server: NetServer): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

if (import.meta.main) await runService(() => startServer(readSettings(process.env)));
