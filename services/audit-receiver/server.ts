import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, type Server as HttpsServer } from "node:https";
import { join } from "node:path";

import { createLogger, type Logger, type LogSink } from "../common/log.ts";
import { followFiles } from "../common/mounted-files.ts";
import { runService } from "../common/run-service.ts";
import { serverTls } from "../common/tls.ts";
import { createApp } from "./app.ts";
import { startForwarding } from "./forward.ts";
import { type Journal, openJournal } from "./journal.ts";
import { createSender } from "./send.ts";
import { readSettings, type Settings } from "./settings.ts";

/** A request under way at SIGTERM gets this long, in milliseconds, to be stored and answered. */
const drainTimeoutMs = 10_000;
/** How often the counts are logged, in milliseconds. */
const statsIntervalMs = 60_000;

/** A running receiver. */
export interface Server {
  /** The port it listens on. */
  readonly port: number;
  /** Reads the mounted files now instead of at the next poll. */
  readonly refresh: () => Promise<void>;
  /** Answers what is under way, then closes the journal. */
  readonly stop: () => Promise<void>;
}

/**
 * Starts the receiver with the files that the settings name, and follows those files from then on.
 *
 * @param logSink where log lines go, by default standard output.
 * @throws when a file is missing or not usable, the journal cannot be opened, or the port is taken.
 */
export async function startServer(settings: Settings, logSink?: LogSink): Promise<Server> {
  const log = createLogger(logSink);
  const report = (message: string, err?: unknown): void =>
    err === undefined ? log.info(message) : log.error({ err }, message);
  const files = followFiles(log);
  // A body that does not come holds memory from others.
  const limits = { keepAliveTimeout: 65_000, requestTimeout: 30_000 };
  const server = createServer({ ...limits, minVersion: serverTls.minVersion });
  const certificate = ["tls.crt", "tls.key"].map((name) => join(settings.tlsDir, name));
  // Throws when key and certificate don't belong together.
  await files.follow(certificate, (cert, key) => server.setSecureContext({ cert, key, ...serverTls }));

  const { dataDir, segmentBytes, retention, tokenFile } = settings;
  const journal = await openJournal(dataDir, { segmentBytes, retention, report });
  const token = async (): Promise<string> => (await readFile(tokenFile, "utf8")).trim();
  server.on("request", createApp({ journal, token, report }));
  const stopForwarding = startForwardingTo(settings, journal, report);
  const stats = reportStats(journal, log);

  await once(server.listen(settings.port), "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : settings.port;
  log.info(`listening on port ${port}, writing to ${dataDir}`);
  return {
    port,
    refresh: files.refresh,
    stop: async () => {
      log.info("stopping");
      files.stop();
      await drain(server);
      await stopForwarding();
      await journal.close();
      stats.stop();
    },
  };
}

/** Ends the server once what is under way is answered, or its time is over. */
async function drain(server: HttpsServer): Promise<void> {
  const closed = once(server.close(), "close");
  // MinIO keeps its connections open; each is closed once its answer is out.
  const idle = setInterval(() => server.closeIdleConnections(), 100);
  const timeout = setTimeout(() => server.closeAllConnections(), drainTimeoutMs);
  await closed;
  clearInterval(idle);
  clearTimeout(timeout);
}

/** Starts forwarding to the index, if the settings name one. @returns a function that ends it */
function startForwardingTo(
  { forward, tlsDir, dataDir }: Settings,
  journal: Journal,
  report: (message: string, err?: unknown) => void,
): () => Promise<void> {
  if (forward === undefined) return () => Promise.resolve();
  const { url, format, authorizationFile: file } = forward;
  const { send, close } = createSender(url, {
    authorityFile: join(tlsDir, "ca.crt"),
    authorization: async () => (file === undefined ? undefined : (await readFile(file, "utf8")).trim()),
  });
  const stop = startForwarding({
    dir: dataDir,
    format,
    durable: () => journal.lastSeq(),
    send,
    report,
  });
  return async () => {
    await stop();
    await close();
  };
}

/** Logs the journal's counts regularly and at the end, if they changed. */
function reportStats(journal: Journal, log: Logger): { readonly stop: () => void } {
  let latest = "";
  const logStats = (): void => {
    const counts = journal.counts();
    const text = JSON.stringify(counts);
    if (text !== latest) log.info({ counts }, "counts since the start");
    latest = text;
  };
  const timer = setInterval(logStats, statsIntervalMs).unref();
  return {
    stop: () => {
      clearInterval(timer);
      logStats();
    },
  };
}

if (import.meta.main) await runService(() => startServer(readSettings(process.env)));
