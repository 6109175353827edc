import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type PeerCertificate } from "node:tls";
import { afterEach, beforeEach, expect, test } from "vitest";
import { verifyChain } from "../../services/audit-receiver/chain.ts";
import { writeCertificate } from "../support/minio-server.ts";

/** The receiver as its own process, over TLS, on a real disk. */
interface Receiver {
  readonly port: number;
  readonly process: ChildProcess;
  /** What it logged so far. */
  readonly log: () => string;
}

let directory: string;
let agent: Agent;
const running = new Set<ChildProcess>();

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "audit-receiver-"));
  await writeCertificate(directory);
  await writeFile(join(directory, "token"), "t0k3n\n");
  agent = new Agent({ ca: await readFile(join(directory, "tls.crt")), keepAlive: true, maxSockets: 20 });
});

afterEach(async () => {
  agent.destroy();
  for (const child of running) child.kill("SIGKILL");
  running.clear();
  await rm(directory, { recursive: true });
});

async function start(): Promise<Receiver> {
  const child = spawn(process.execPath, ["services/audit-receiver/server.ts"], {
    env: {
      PORT: "0",
      TLS_DIR: directory,
      TOKEN_FILE: join(directory, "token"),
      DATA_DIR: join(directory, "data"),
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  running.add(child);
  let log = "";
  const port = await new Promise<number>((resolve, reject) => {
    // Read to the end, or the receiver could not write its log.
    child.stdout.on("data", (text: Buffer) => {
      log += text.toString();
      const listening = /listening on port (\d+)/.exec(log)?.[1];
      if (listening !== undefined) resolve(Number(listening));
    });
    child.once("exit", () => {
      reject(new Error(`the receiver ended: ${log}`));
    });
  });
  return { port, process: child, log: () => log };
}

async function post({ port }: Receiver, body: string, token = "t0k3n"): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}` };
    const sent = request(
      { port, host: "localhost", method: "POST", path: "/audit", agent, headers },
      (answer) => {
        answer.resume().on("end", () => {
          resolve(answer.statusCode ?? 0);
        });
      },
    );
    sent.on("error", reject).end(body);
  });
}

async function journal(): Promise<string[]> {
  const data = join(directory, "data");
  const names = (await readdir(data)).filter((name) => name.startsWith("audit-")).toSorted();
  const files = await Promise.all(names.map((name) => readFile(join(data, name), "utf8")));
  return files.flatMap((text) => text.split("\n").filter((line) => line !== ""));
}

test("keeps every event it answered 200 for, through kills under load, in one unbroken chain", async () => {
  const acknowledged = new Set<string>();
  for (const round of [1, 2, 3]) {
    const receiver = await start();
    let sent = 0;
    const client = async (): Promise<void> => {
      for (;;) {
        const id = `${round}-${(sent += 1)}`;
        const status = await post(receiver, `${JSON.stringify({ requestID: id, pad: "x".repeat(3_000) })}\n`);
        if (status === 200) acknowledged.add(id);
      }
    };
    const clients = Array.from({ length: 20 }, () => client().catch(() => undefined));
    await sleep(500);
    receiver.process.kill("SIGKILL");
    await Promise.all(clients);
  }
  await start();
  const lines = await journal();
  const stored = new Set(lines.map((line) => /"requestID":"([^"]*)"/.exec(line)?.[1]));
  expect(verifyChain(lines).seq).toBe(lines.length);
  expect(acknowledged.size).toBeGreaterThan(100);
  expect([...acknowledged].filter((id) => !stored.has(id))).toEqual([]);
});

test("takes up a rotated token at once", async () => {
  const receiver = await start();
  expect(await post(receiver, "{}", "n3w")).toBe(401);
  await writeFile(join(directory, "token"), "n3w\n");
  expect(await post(receiver, "{}", "n3w")).toBe(200);
  expect(await post(receiver, "{}")).toBe(401);
});

test("takes up a renewed certificate without dropping a connection", async () => {
  const receiver = await start();
  expect(await post(receiver, "{}")).toBe(200);
  const before = await peer(receiver);
  await writeCertificate(directory);
  await expect
    .poll(async () => (await peer(receiver)).serialNumber, { timeout: 20_000, interval: 500 })
    .not.toBe(before.serialNumber);
  // On the connection of before, for the agent does not trust the new certificate.
  expect(await post(receiver, "{}")).toBe(200);
});

test("goes on with its certificate when the renewed one is unusable", async () => {
  const receiver = await start();
  await writeFile(join(directory, "tls.crt"), "not a certificate");
  await expect
    .poll(receiver.log, { timeout: 20_000, interval: 500 })
    .toContain("reload failed, keeping the previous files");
  expect(await post(receiver, "{}")).toBe(200);
});

test("answers what is under way when told to stop, then ends at once", async () => {
  const receiver = await start();
  const exited = once(receiver.process, "exit");
  const answers = Array.from({ length: 40 }, (_, n) =>
    post(receiver, JSON.stringify({ n, pad: "x".repeat(100_000) })),
  );
  await sleep(20);
  const began = performance.now();
  receiver.process.kill("SIGTERM");
  const statuses = await Promise.allSettled(answers);
  expect(await exited).toEqual([0, null]);
  expect(performance.now() - began).toBeLessThan(5_000);
  const answered = statuses.flatMap((status) => (status.status === "fulfilled" ? [status.value] : []));
  const lines = await journal();
  expect(new Set(answered)).toEqual(new Set([200]));
  expect(lines.length).toBeGreaterThanOrEqual(answered.length);
  expect(verifyChain(lines).seq).toBe(lines.length);
});

test("writes files that only it can read", async () => {
  const receiver = await start();
  await post(receiver, "{}\nnone\n");
  const data = join(directory, "data");
  for (const name of await readdir(data)) expect((await stat(join(data, name))).mode & 0o777).toBe(0o600);
});

async function peer({ port }: Receiver): Promise<PeerCertificate> {
  const socket = connect({ port, host: "localhost", rejectUnauthorized: false });
  await once(socket, "secureConnect");
  const certificate = socket.getPeerCertificate();
  socket.destroy();
  return certificate;
}
