import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { Agent } from "node:https";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";

import { Client } from "minio";

import { HttpsClient } from "../../services/common/https-client.ts";

const run = promisify(execFile);

/** A user of MinIO. */
export interface User {
  accessKey: string;
  secretKey: string;
}

/** A MinIO of a test's own: over TLS, on loopback, with data that goes with it. */
export interface MinioServer {
  /** `https://127.0.0.1:<port>` */
  origin: string;
  /** The certificate, which is its own authority. */
  ca: Buffer;
  caFile: string;
  /** Runs `mc` with the root user as host `t`. */
  mc: (...args: string[]) => Promise<string>;
  /** Adds a user with one policy document. */
  addUser: (user: User, policy: string) => Promise<void>;
  /** A header-signing client. */
  client: (user: User) => Client;
  /** Folder of its certificate and key, as `tls.crt` and `tls.key`. As a client it trusts these, too. */
  certificates: string;
  /** @param signal - SIGKILL unless told otherwise */
  stop: (signal?: NodeJS.Signals) => Promise<void>;
  /** Starts it again, same port, same data. */
  start: () => Promise<void>;
  /** Stops it and deletes its data. */
  remove: () => Promise<void>;
}

/** Writes a self-signed certificate for loopback as `tls.crt` and `tls.key`. */
export async function writeCertificate(directory: string): Promise<void> {
  const args = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost";
  const names = "-addext subjectAltName=DNS:localhost,IP:127.0.0.1";
  const files = ["-keyout", join(directory, "tls.key"), "-out", join(directory, "tls.crt")];
  await run("openssl", [...`${args} ${names}`.split(" "), ...files]);
}

/** A TCP port of loopback that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/**
 * Starts MinIO and waits until it answers.
 *
 * @param binaries - paths of `minio` and `mc`
 * @param drives - folders that stand for drives; from four on it is erasure coded, and so has all of its admin API
 * @param more - further settings, and a file that what it says is added to
 */
export async function startMinio(
  binaries: { minio: string; mc: string },
  drives = 1,
  more: { environment?: Readonly<Record<string, string>>; logFile?: string } = {},
): Promise<MinioServer> {
  const directory = await mkdtemp(join(tmpdir(), "minio-"));
  const certs = join(directory, "certs");
  const authorities = join(directory, "mc", "certs", "CAs");
  await mkdir(certs);
  await mkdir(authorities, { recursive: true });
  await writeCertificate(certs);
  const caFile = join(certs, "tls.crt");
  const ca = await readFile(caFile);
  await writeFile(join(certs, "public.crt"), ca);
  await writeFile(join(certs, "private.key"), await readFile(join(certs, "tls.key")), { mode: 0o600 });
  await writeFile(join(authorities, "minio.crt"), ca);

  const port = await freePort();
  const origin = `https://127.0.0.1:${port}`;
  const agent = new Agent({ ca });
  const client = new HttpsClient(ca);
  const root = { accessKey: "test-root", secretKey: "test-root-password" };
  let server: ChildProcess | undefined;

  const start = async (): Promise<void> => {
    const args = ["server", "--quiet", "--certs-dir", certs, "--address", `127.0.0.1:${port}`];
    const places = Array.from({ length: drives }, (_, index) => join(directory, `data${index || ""}`));
    const log = more.logFile === undefined ? undefined : await open(more.logFile, "a");
    const output = log?.fd ?? "ignore";
    server = spawn(binaries.minio, [...args, ...places], {
      env: {
        HOME: directory,
        MINIO_ROOT_USER: root.accessKey,
        MINIO_ROOT_PASSWORD: root.secretKey,
        MINIO_BROWSER: "off",
        MINIO_UPDATE: "off",
        // Folders of one disk are taken for drives.
        MINIO_CI_CD: "on",
        ...more.environment,
      },
      stdio: ["ignore", output, output],
    });
    await log?.close();
    for (let tries = 0; tries < 300; tries += 1) {
      const answer = await client
        .send(`${origin}/minio/health/cluster`, { maxBytes: 1024, timeoutMs: 1000 })
        .catch(() => undefined);
      if (answer?.status === 200) return;
      if (server.exitCode !== null) throw new Error(`MinIO ended with ${server.exitCode}`);
      await delay(100);
    }
    throw new Error("MinIO did not get ready in 30 s");
  };
  const stop = async (signal: NodeJS.Signals = "SIGKILL"): Promise<void> => {
    if (server?.exitCode !== null || server.signalCode !== null) return;
    const exited = once(server, "exit");
    server.kill(signal);
    await exited;
  };
  const mc = async (...args: string[]): Promise<string> => {
    const { stdout } = await run(binaries.mc, ["--config-dir", join(directory, "mc"), "--json", ...args], {
      env: { HOME: directory, MC_HOST_t: origin.replace("//", `//${root.accessKey}:${root.secretKey}@`) },
    });
    return stdout;
  };

  await start();
  return {
    origin,
    ca,
    caFile,
    certificates: certs,
    mc,
    start,
    stop,
    addUser: async ({ accessKey, secretKey }, policy) => {
      const file = join(directory, `${accessKey}.json`);
      await writeFile(file, policy);
      await mc("admin", "user", "add", "t", accessKey, secretKey);
      await mc("admin", "policy", "create", "t", accessKey, file);
      await mc("admin", "policy", "attach", "t", accessKey, "--user", accessKey);
    },
    client: (user) =>
      new Client({
        endPoint: "127.0.0.1",
        port,
        useSSL: true,
        region: "us-east-1",
        transportAgent: agent,
        ...user,
      }),
    remove: async () => {
      await stop();
      await client.close();
      await rm(directory, { recursive: true });
    },
  };
}
