import { readFileSync, unwatchFile, watchFile } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:https";
import { join } from "node:path";
import { inspect } from "node:util";
import { serverTls } from "../common/tls.ts";
import { createApp } from "./app.ts";
import { startForwarding } from "./forward.ts";
import { openJournal } from "./journal.ts";
import { createSender } from "./send.ts";
import { type Forward, readSettings } from "./settings.ts";

/** A request under way at SIGTERM gets this long, in milliseconds, to be stored and answered. */
const DRAIN_TIMEOUT = 10_000;
/** How often the certificate file is looked at, in milliseconds. Kubernetes itself takes up to a minute. */
const CERTIFICATE_POLL = 5_000;
/** How often what was stored is told, in milliseconds. */
const COUNTS_INTERVAL = 60_000;

function log(level: "info" | "error", message: string, error?: unknown): void {
  const reason =
    error === undefined ? {} : { error: error instanceof Error ? error.message : inspect(error) };
  process.stdout.write(`${JSON.stringify({ time: new Date().toISOString(), level, message, ...reason })}\n`);
}

const settings = readSettings(process.env);
const certificate = join(settings.tlsDir, "tls.crt");
const readKeyPair = (): { cert: Buffer; key: Buffer } => ({
  cert: readFileSync(certificate),
  key: readFileSync(join(settings.tlsDir, "tls.key")),
});

const journal = await openJournal(settings.dataDir, {
  segmentBytes: settings.segmentBytes,
  retention: settings.retention,
  report: (message, error) => {
    log("error", message, error);
  },
});
const stopForwarding = settings.forward === undefined ? undefined : forwardTo(settings.forward);
const app = createApp({
  journal,
  token: async () => (await readFile(settings.tokenFile, "utf8")).trim(),
  report: (message, error) => {
    log("error", message, error);
  },
});
// A body that does not come holds memory from others.
const limits = { keepAliveTimeout: 65_000, requestTimeout: 30_000 };
const server = createServer({ ...readKeyPair(), ...serverTls, ...limits }, app);

watchFile(certificate, { interval: CERTIFICATE_POLL, persistent: false }, () => {
  try {
    server.setSecureContext({ ...readKeyPair(), ...serverTls });
    log("info", "took up the renewed certificate");
  } catch (error) {
    log("error", "the renewed certificate cannot be used; the former one stays", error);
  }
});

let told = "";
/** What was stored so far, if anything was since it was told last. */
function tellCounts(): void {
  const counts = JSON.stringify(journal.counts());
  if (counts !== told) log("info", `counts since the start: ${counts}`);
  told = counts;
}
const telling = setInterval(tellCounts, COUNTS_INTERVAL);
telling.unref();

function forwardTo({ url, format, authorizationFile }: Forward): () => Promise<void> {
  const send = createSender(url, {
    authorityFile: join(settings.tlsDir, "ca.crt"),
    authorization: async () =>
      authorizationFile === undefined ? undefined : (await readFile(authorizationFile, "utf8")).trim(),
  });
  return startForwarding({
    dir: settings.dataDir,
    format,
    durable: () => journal.end(),
    send,
    report: (message, error) => {
      log(error === undefined ? "info" : "error", message, error);
    },
  });
}

async function end(): Promise<void> {
  await stopForwarding?.();
  await journal.close();
  tellCounts();
}

function stop(): void {
  log("info", "stopping");
  unwatchFile(certificate);
  // MinIO keeps its connections open; each is closed once its answer is out.
  const idle = setInterval(() => {
    server.closeIdleConnections();
  }, 100);
  setTimeout(() => {
    server.closeAllConnections();
  }, DRAIN_TIMEOUT).unref();
  server.close(() => {
    clearInterval(idle);
    end().catch((error: unknown) => {
      log("error", "the journal did not close cleanly", error);
      process.exitCode = 1;
    });
  });
}

process.once("SIGTERM", stop);
process.once("SIGINT", stop);
server.listen(settings.port, () => {
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  log("info", `listening on port ${port ?? settings.port}, writing to ${settings.dataDir}`);
});
