import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { Agent, createServer, request, type Server } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { apiSignerPolicy } from "../../components/access/iam-policies.ts";
import { readLine } from "../../services/audit-receiver/chain.ts";
import { listSegments } from "../../services/audit-receiver/segments.ts";
import { createPresigner } from "../../services/signed-url-api/signing/presign.ts";
import { freePort, type MinioServer, startMinio } from "./minio-server.ts";

/**
 * How the way from MinIO to the receiver behaves. `lost-answer`: the event is stored, and the answer cut off;
 * `slow`: the answer comes after MinIO's patience of 5 s.
 */
export type Mode = "whole" | "refuse-500" | "refuse-403" | "reset" | "lost-answer" | "slow";

/** A MinIO, a receiver, and between them a way that can be made to fail. All over TLS on loopback. */
export interface Pipeline {
  readonly minio: MinioServer;
  /** Where MinIO keeps what the receiver has not taken. */
  readonly queue: string;
  /** The trail's folder. */
  readonly data: string;
  /** What the receiver said. */
  readonly receiverLog: () => string;
  /** What MinIO said. */
  readonly minioLog: () => Promise<string>;
  readonly setMode: (mode: Mode) => void;
  readonly startReceiver: () => Promise<void>;
  /** Ends it at once. */
  readonly killReceiver: () => Promise<void>;
  readonly receiverPid: () => number;
  /** Its own address, past the way between. */
  readonly receiverOrigin: string;
  /** How often each request is in the trail, by its id. */
  readonly stored: () => Promise<ReadonlyMap<string, number>>;
  /** One signed download. @returns MinIO's id of the request */
  readonly get: (query?: Readonly<Record<string, string>>) => Promise<Got>;
  /** Downloads without pause on some connections until told to stop. */
  readonly load: (clients: number, pause: number) => Load;
  readonly remove: () => Promise<void>;
}

export interface Got {
  readonly id: string;
  readonly status: number;
  /** Milliseconds to the end of the answer. */
  readonly took: number;
}

export interface Load {
  /** Requests that were answered, in order. */
  readonly answered: readonly Got[];
  /** How many requests got no answer. */
  readonly failures: () => number;
  readonly stop: () => Promise<void>;
}

export interface PipelineOptions {
  /** Folder of the trail. @default one of its own */
  readonly data?: string;
  /** Folder of MinIO's queue. @default one of its own */
  readonly queue?: string;
  /** MinIO's `queue_size`. @default the stack's 100000 */
  readonly queueSize?: number;
  /** MinIO's `batch_size`. @default 1, as the stack has it */
  readonly batchSize?: number;
  /** The receiver's further settings. */
  readonly receiver?: Readonly<Record<string, string>>;
}

const bucket = "geocrop-results";
const path = `/${bucket}/jobs/job-1/result.tif`;
const token = "audit-test-token";

export async function startPipeline(
  binaries: { readonly minio: string; readonly mc: string },
  options: PipelineOptions = {},
): Promise<Pipeline> {
  const directory = await mkdtemp(join(tmpdir(), "audit-pipeline-"));
  const data = options.data ?? join(directory, "trail");
  const queue = options.queue ?? join(directory, "queue");
  await mkdir(data, { recursive: true });
  const wayPort = await freePort();
  const receiverPort = await freePort();
  const minioLog = join(directory, "minio.log");
  const minio = await startMinio(binaries, 1, {
    environment: {
      MINIO_AUDIT_WEBHOOK_ENABLE_receiver: "on",
      MINIO_AUDIT_WEBHOOK_ENDPOINT_receiver: `https://localhost:${wayPort}/audit`,
      MINIO_AUDIT_WEBHOOK_AUTH_TOKEN_receiver: `Bearer ${token}`,
      MINIO_AUDIT_WEBHOOK_QUEUE_DIR_receiver: queue,
      MINIO_AUDIT_WEBHOOK_QUEUE_SIZE_receiver: String(options.queueSize ?? 100_000),
      MINIO_AUDIT_WEBHOOK_BATCH_SIZE_receiver: String(options.batchSize ?? 1),
    },
    logFile: minioLog,
  });
  // The receiver's index shows the same certificate.
  await copyFile(join(minio.certificates, "tls.crt"), join(minio.certificates, "ca.crt"));
  const tokenFile = join(directory, "token");
  await writeFile(tokenFile, token);

  let receiver: ChildProcess | undefined;
  let receiverLog = "";
  async function startReceiver(): Promise<void> {
    const child = spawn(process.execPath, ["services/audit-receiver/server.ts"], {
      env: {
        PORT: String(receiverPort),
        TLS_DIR: minio.certificates,
        TOKEN_FILE: tokenFile,
        DATA_DIR: data,
        ...options.receiver,
      },
      stdio: ["ignore", "pipe", "inherit"],
    });
    receiver = child;
    await new Promise<void>((resolve, reject) => {
      child.stdout.on("data", (text: Buffer) => {
        receiverLog += text.toString();
        if (text.includes("listening on")) resolve();
      });
      child.once("exit", () => {
        reject(new Error(`the receiver ended: ${receiverLog}`));
      });
    });
  }
  async function killReceiver(): Promise<void> {
    if (receiver === undefined || receiver.exitCode !== null || receiver.signalCode !== null) return;
    const gone = once(receiver, "exit");
    receiver.kill("SIGKILL");
    await gone;
  }

  const way = await openWay(minio, wayPort, receiverPort);
  await startReceiver();

  const signer = { accessKey: "api-signer-1", secretKey: randomUUID() };
  await minio.mc("mb", `t/${bucket}`);
  await minio.addUser(signer, apiSignerPolicy(bucket));
  const object = join(directory, "object");
  await writeFile(object, "x".repeat(1_000));
  await minio.mc("cp", object, `t${path}`);
  const presign = createPresigner(minio.origin, "us-east-1", () => signer);
  const agent = new Agent({ ca: minio.ca, keepAlive: true, maxSockets: 64 });

  function get(query: Readonly<Record<string, string>> = {}): Promise<Got> {
    const { url } = presign({ path, expiresIn: 900, now: new Date(), query });
    const began = performance.now();
    return new Promise((resolve, reject) => {
      request(url, { agent }, (answer) => {
        answer.on("error", reject).on("end", () => {
          const id = String(answer.headers["x-amz-request-id"]);
          resolve({ id, status: answer.statusCode ?? 0, took: performance.now() - began });
        });
        answer.resume();
      })
        .on("error", reject)
        .end();
    });
  }

  function load(clients: number, pause: number): Load {
    const answered: Got[] = [];
    let failures = 0;
    const end = new AbortController();
    const client = async (): Promise<void> => {
      while (!end.signal.aborted) {
        try {
          answered.push(await get());
        } catch {
          failures += 1;
          await delay(50);
        }
        if (pause > 0) await delay(pause);
      }
    };
    const running = Promise.all(Array.from({ length: clients }, client));
    return {
      answered,
      failures: () => failures,
      stop: async () => {
        end.abort();
        await running;
      },
    };
  }

  return {
    minio,
    queue: join(queue, "minio-http-audit-receiver"),
    data,
    receiverLog: () => receiverLog,
    minioLog: () => readFile(minioLog, "utf8"),
    setMode: way.setMode,
    startReceiver,
    killReceiver,
    receiverPid: () => receiver?.pid ?? 0,
    receiverOrigin: `https://localhost:${receiverPort}`,
    stored: () => storedRequests(data),
    get,
    load,
    remove: async () => {
      agent.destroy();
      await minio.remove();
      way.close();
      await killReceiver();
      await rm(directory, { recursive: true });
    },
  };
}

async function storedRequests(data: string): Promise<ReadonlyMap<string, number>> {
  const ids = new Map<string, number>();
  for (const { name, kind } of await listSegments(data)) {
    if (kind !== "audit") continue;
    for (const line of (await readFile(join(data, name), "utf8")).split("\n")) {
      const { requestID }: { readonly requestID?: string } = JSON.parse(readLine(line)?.event ?? "{}");
      if (requestID !== undefined) ids.set(requestID, (ids.get(requestID) ?? 0) + 1);
    }
  }
  return ids;
}

/** The way between: hands on what it gets, unless told to fail. */
async function openWay(
  minio: MinioServer,
  port: number,
  receiverPort: number,
): Promise<{ readonly setMode: (mode: Mode) => void; readonly close: () => void }> {
  let mode: Mode = "whole";
  const agent = new Agent({ ca: minio.ca, keepAlive: true });
  const tls = {
    cert: await readFile(join(minio.certificates, "tls.crt")),
    key: await readFile(join(minio.certificates, "tls.key")),
  };
  const server: Server = createServer(tls, (incoming, answer) => {
    const now = mode;
    if (now === "reset") {
      incoming.socket.destroy();
      return;
    }
    if (now === "refuse-500" || now === "refuse-403") {
      incoming.resume();
      answer.writeHead(Number(now.slice(-3))).end();
      return;
    }
    const headers = incoming.headers;
    const onward = request(
      { host: "localhost", port: receiverPort, path: incoming.url, method: incoming.method, headers, agent },
      (reply) => {
        reply.resume().on("end", () => {
          if (now === "lost-answer") incoming.socket.destroy();
          else {
            // Beyond the 5 s that MinIO waits.
            setTimeout(
              () => {
                answer.writeHead(reply.statusCode ?? 502).end();
              },
              now === "slow" ? 6_000 : 0,
            );
          }
        });
      },
    );
    // The receiver is away.
    onward.on("error", () => incoming.socket.destroy());
    incoming.on("error", () => onward.destroy()).pipe(onward);
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return {
    setMode: (next) => {
      mode = next;
    },
    close: () => {
      server.closeAllConnections();
      server.close();
      agent.destroy();
    },
  };
}
