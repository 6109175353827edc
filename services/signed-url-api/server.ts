import { Agent } from "node:https";
import { join } from "node:path";
import type { Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { createSecureContext } from "node:tls";

import { createLocalJWKSet, createRemoteJWKSet, type JWTVerifyGetKey } from "jose";

import { buildApp, TLS_MIN_VERSION } from "./app.ts";
import { createHttpsGet } from "./https-get.ts";
import { mountFiles, type MountedFiles } from "./mounted-files.ts";
import { createPresigner, type Credentials } from "./presign.ts";
import { readSettings, type Settings } from "./settings.ts";
import { createStorage } from "./storage.ts";
import { createAuthenticate } from "./tokens.ts";

/** After SIGTERM the API serves on for so long, until every node has taken the pod out of the Service. */
const DRAIN_MS = 5000;

/** Whatever still runs so long after SIGTERM is cut off: within a pod's grace period of 30 s, a preStop sleep included. */
const STOP_LIMIT_MS = 20_000;

/** A running API. */
export interface Server {
  /** The port it listens on. */
  port: number;
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
 * @param logStream - where log lines go, by default standard output
 * @throws when a file is missing or of no use, or the port is taken
 */
export async function startServer(settings: Settings, logStream?: Writable): Promise<Server> {
  let credentials: Credentials;
  let storageAgent: Agent;
  let issuerKeys: JWTVerifyGetKey;
  let stopping = false;

  const currentCredentials = (): Credentials => credentials;
  const { S3_REGION: region } = settings;
  const app = buildApp({
    settings,
    authenticate: createAuthenticate({
      issuer: settings.JWT_ISSUER,
      audience: settings.JWT_AUDIENCE,
      algorithms: settings.JWT_ALGORITHMS,
      keys: (header, token) => issuerKeys(header, token),
    }),
    storage: createStorage(
      settings.RESULTS_BUCKET,
      createPresigner(settings.S3_ENDPOINT, region, currentCredentials),
      createHttpsGet(() => storageAgent),
    ),
    presign: createPresigner(settings.DOWNLOAD_URL, region, currentCredentials),
    ready: () => !stopping,
    ...(logStream && { logStream }),
  });

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
    },
  );
  await follow([settings.S3_CA_FILE], (ca) => {
    createSecureContext({ ca });
    // The agent before it closes its connections as they fall idle.
    storageAgent = new Agent({ ca, keepAlive: true, maxSockets: 64, minVersion: TLS_MIN_VERSION });
  });
  await follow(
    ["tls.crt", "tls.key"].map((name) => join(settings.TLS_DIR, name)),
    // Throws when key and certificate don't belong together.
    (cert, key) => app.server.setSecureContext({ cert, key, minVersion: TLS_MIN_VERSION }),
  );
  if (settings.JWKS_FILE !== undefined) {
    await follow([settings.JWKS_FILE], (jwks) => {
      issuerKeys = createLocalJWKSet(JSON.parse(jwks.toString()));
    });
  } else if (settings.JWKS_URL !== undefined) {
    const remote = createRemoteJWKSet(new URL(settings.JWKS_URL), { timeoutDuration: 3000 });
    remote.reload().catch((err: unknown) => app.log.warn({ err }, "the issuer's keys can't be had yet"));
    issuerKeys = remote;
  }

  const address = await app.listen({ host: "0.0.0.0", port: settings.PORT });
  return {
    port: Number(new URL(address).port),
    refresh: async () => void (await Promise.all(mounted.map((files) => files.refresh()))),
    stop: async (drainMs = DRAIN_MS) => {
      stopping = true;
      app.log.info({ drainMs }, "stopping");
      await delay(drainMs);
      await app.close();
      for (const files of mounted) files.stop();
      storageAgent.destroy();
    },
  };
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
