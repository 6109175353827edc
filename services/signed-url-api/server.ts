import { once } from "node:events";
import { Agent } from "node:https";
import type { Server as NetServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { createSecureContext } from "node:tls";

import { createLocalJWKSet, type JWTVerifyGetKey } from "jose";

import { serverTls } from "../common/tls.ts";
import { buildApp, createListener, TLS_MIN_VERSION } from "./app.ts";
import { createDownloads } from "./signing/downloads.ts";
import { createHttpsGet } from "../common/https-get.ts";
import { createJobs } from "./jobs/jobs.ts";
import type { LogSink } from "./log-lines.ts";
import { createMetricsServer } from "./metrics-server.ts";
import { createMetrics } from "./metrics.ts";
import { mountFiles, type MountedFiles } from "../common/mounted-files.ts";
import { createPresigner, type Credentials } from "./signing/presign.ts";
import { createRemoteKeys, type RemoteKeys } from "./auth/remote-keys.ts";
import { readSettings, type Settings } from "./settings.ts";
import { createStorage } from "./jobs/storage.ts";
import { createTokens } from "./auth/tokens.ts";

/** After SIGTERM the API serves on for so long, until every node has taken the pod out of the Service. */
const DRAIN_MS = 5000;

/** Whatever still runs so long after SIGTERM is cut off: within a pod's grace period of 30 s, a preStop sleep included. */
const STOP_LIMIT_MS = 20_000;

/** Of an issuer's keys and of fetching them. */
const KEYS_BOUNDS = { maxBytes: 256 * 1024, timeoutMs: 5000 };

/** A running API. */
export interface Server {
  /** The port it listens on. */
  port: number;
  /** The port that Prometheus asks. */
  metricsPort: number;
  /** Reads the mounted files now instead of at the next poll. */
  refresh: () => Promise<void>;
  /**
   * Fails readiness, serves on for a while, finishes what is under way, ends.
   *
   * @param drainMs - how long to serve on, in milliseconds
   */
  stop: (drainMs?: number) => Promise<void>;
}

/**
 * Starts the API with the files that the settings name, and follows those files from then on.
 *
 * @param logSink - where log lines go, by default standard output
 * @throws when a file is missing or of no use, or a port is taken
 */
export async function startServer(settings: Settings, logSink?: LogSink): Promise<Server> {
  let credentials: Credentials;
  let storageAgent: Agent;
  let issuerAgent = new Agent({ minVersion: TLS_MIN_VERSION });
  let issuerKeys: JWTVerifyGetKey;
  let remoteKeys: RemoteKeys | undefined;
  let stopping = false;

  const { S3_REGION: region, RESULTS_BUCKET: bucket, JWT_ISSUER: issuer } = settings;
  const presignFor = (origin: string) => createPresigner(origin, region, () => credentials);

  const metrics = createMetrics(() => remoteKeys?.age());
  const tokens = createTokens({
    issuer,
    audience: settings.JWT_AUDIENCE,
    algorithms: settings.JWT_ALGORITHMS,
    keys: (header, token) => issuerKeys(header, token),
    admin: settings.ADMIN_CLAIM,
  });
  const storage = createStorage({
    bucket,
    presign: presignFor(settings.S3_ENDPOINT),
    httpGet: createHttpsGet(() => storageAgent),
    onRead: metrics.storageRead,
  });
  const jobs = createJobs(storage);
  const downloads = createDownloads({ bucket, presign: presignFor(settings.DOWNLOAD_URL) });
  const ready = (): boolean => !stopping;
  const listener = createListener();
  const app = await buildApp({
    listener,
    settings,
    tokens,
    jobs,
    downloads,
    metrics,
    ready,
    ...(logSink && { logSink }),
  });
  const metricsServer = createMetricsServer(metrics, TLS_MIN_VERSION);

  const mounted: MountedFiles[] = [];
  const follow = async (paths: string[], apply: (...contents: Buffer[]) => void): Promise<void> => {
    mounted.push(
      await mountFiles({
        paths,
        apply: (contents) => {
          apply(...contents);
          app.log.info({ paths }, "files read");
        },
        onError: (err) => app.log.error({ paths, err }, "changed files are of no use, the old ones stay"),
      }),
    );
  };

  await follow(
    ["access-key", "secret-key"].map((name) => join(settings.CREDENTIALS_DIR, name)),
    (...contents) => {
      const [accessKey = "", secretKey = ""] = contents.map((content) => content.toString().trim());
      if (accessKey === "" || secretKey === "") throw new Error("an empty access key or secret key");
      credentials = { accessKey, secretKey };
      // URLs of the former key, and what it could read, are the past.
      downloads.forget();
      jobs.forget();
    },
  );
  await follow([settings.S3_CA_FILE], (ca) => {
    createSecureContext({ ca });
    // The agent before it closes its connections as they fall idle.
    storageAgent = new Agent({ ca, keepAlive: true, maxSockets: 64, minVersion: TLS_MIN_VERSION });
  });
  await follow(
    ["tls.crt", "tls.key"].map((name) => join(settings.TLS_DIR, name)),
    (cert, key) => {
      // Throws when key and certificate don't belong together.
      const context = { cert, key, ...serverTls };
      listener.setSecureContext(context);
      metricsServer.setSecureContext(context);
    },
  );
  if (settings.JWKS_CA_FILE !== undefined) {
    await follow([settings.JWKS_CA_FILE], (ca) => {
      createSecureContext({ ca });
      issuerAgent = new Agent({ ca, minVersion: TLS_MIN_VERSION });
    });
  }
  if (settings.JWKS_FILE !== undefined) {
    await follow([settings.JWKS_FILE], (jwks) => {
      issuerKeys = createLocalJWKSet(JSON.parse(jwks.toString()));
      // What the former keys vouched for has to be verified anew.
      tokens.forget();
    });
  } else if (settings.JWKS_URL !== undefined) {
    const url = settings.JWKS_URL;
    const get = createHttpsGet(() => issuerAgent);
    remoteKeys = createRemoteKeys({
      fetchText: async () => {
        const { status, body } = await get(url, KEYS_BOUNDS);
        if (status !== 200) throw new Error(`the issuer answered ${status}`);
        if (body === undefined) throw new Error("the issuer's keys are too long");
        return body.toString();
      },
      onChange: () => {
        tokens.forget();
        app.log.info("the issuer's keys have changed");
      },
      onError: (err) => app.log.warn({ err }, "the issuer's keys can't be had, the old ones stay"),
    });
    issuerKeys = remoteKeys.find;
  }

  const address = await app.listen({ host: "0.0.0.0", port: settings.PORT });
  await once(metricsServer.listen(settings.METRICS_PORT, "0.0.0.0"), "listening");
  return {
    port: Number(new URL(address).port),
    metricsPort: portOf(metricsServer),
    refresh: async () => void (await Promise.all(mounted.map((files) => files.refresh()))),
    stop: async (drainMs = DRAIN_MS) => {
      stopping = true;
      app.log.info({ drainMs }, "stopping");
      await delay(drainMs);
      await app.close();
      metricsServer.close().closeAllConnections();
      remoteKeys?.stop();
      for (const files of mounted) files.stop();
      storageAgent.destroy();
    },
  };
}

function portOf(server: NetServer): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

if (import.meta.main) {
  try {
    const server = await startServer(readSettings(process.env));
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      process.once(signal, () => {
        setTimeout(() => process.exit(1), STOP_LIMIT_MS).unref();
        void server.stop();
      });
    }
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
