import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, unlink, writeFile } from "node:fs/promises";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";

import { ensureBuild, ensureBuilds, testBuilds } from "../../sandbox/cluster/builds.ts";
import { layoutOf } from "../../sandbox/layout.ts";
import { runner } from "../../sandbox/run.ts";
import { type Got, type Pipeline, startPipeline } from "../support/audit-pipeline.ts";
import { freePort } from "../support/minio-server.ts";

/** The audit trail's index in a real VictoriaLogs, over TLS and with a password. */
const authorization = `Basic ${Buffer.from("writer:index-password").toString("base64")}`;
let directory: string;
let port: number;
let program: string;
let pipeline: Pipeline;
let index: ChildProcess | undefined;

beforeAll(async () => {
  const layout = layoutOf();
  const run = runner(new AbortController().signal);
  const step = { note: () => undefined, doing: () => undefined };
  const built = await ensureBuilds(layout, run, step);
  program = join(await ensureBuild(layout, run, step, testBuilds.victoriaLogs), "victoria-logs");
  directory = await mkdtemp(join(tmpdir(), "audit-forward-"));
  port = await freePort();
  await writeFile(join(directory, "authorization"), `${authorization}\n`);
  const query = "_time_field=time&_msg_field=name&_stream_fields=bucket";
  pipeline = await startPipeline(
    { minio: join(built.minio, "minio"), mc: join(built.mc, "mc") },
    {
      receiver: {
        FORWARD_URL: `https://localhost:${port}/insert/jsonline?${query}`,
        FORWARD_AUTHORIZATION_FILE: join(directory, "authorization"),
      },
    },
  );
});

afterAll(async () => {
  await stopIndex();
  await pipeline.remove();
  await rm(directory, { recursive: true });
});

async function startIndex(data: string): Promise<void> {
  index = spawn(
    program,
    [
      `-httpListenAddr=127.0.0.1:${port}`,
      `-storageDataPath=${join(directory, data)}`,
      "-tls",
      `-tlsCertFile=${join(pipeline.minio.certificates, "tls.crt")}`,
      `-tlsKeyFile=${join(pipeline.minio.certificates, "tls.key")}`,
      "-httpAuth.username=writer",
      "-httpAuth.password=index-password",
    ],
    { stdio: "ignore" },
  );
  await expect.poll(() => find("*").catch(() => undefined), { timeout: 20_000 }).toBeDefined();
}

async function stopIndex(): Promise<void> {
  if (index === undefined || index.exitCode !== null) return;
  const gone = once(index, "exit");
  index.kill("SIGTERM");
  await gone;
}

/** What VictoriaLogs finds. */
async function find(query: string): Promise<Record<string, string>[]> {
  const agent = new Agent({ ca: pipeline.minio.ca });
  const url = `https://localhost:${port}/select/logsql/query?query=${encodeURIComponent(query)}&limit=100000`;
  const text = await new Promise<string>((resolve, reject) => {
    request(url, { agent, headers: { authorization } }, (answer) => {
      let body = "";
      answer.on("data", (chunk: Buffer) => (body += chunk.toString()));
      answer.on("end", () => {
        if (answer.statusCode === 200) resolve(body);
        else reject(new Error(`VictoriaLogs answered ${answer.statusCode}: ${body}`));
      });
    })
      .on("error", reject)
      .end();
  });
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line): Record<string, string> => JSON.parse(line));
}

async function unfound(answered: readonly Got[]): Promise<number> {
  const ids = new Set((await find("*")).map(({ requestID }) => requestID));
  return answered.filter(({ id }) => !ids.has(id)).length;
}

test("what is in the trail is found in VictoriaLogs: after it was away, and after it lost everything", async () => {
  // It is away at first: nobody waits for it.
  const answered = [await pipeline.get({ "x-geocrop-subject": "alice-pseudonym" })];
  const load = pipeline.load(4, 10);
  await delay(3_000);
  await load.stop();
  answered.push(...load.answered);
  expect(answered.length).toBeGreaterThan(100);
  await startIndex("first");
  await expect.poll(() => unfound(answered), { timeout: 60_000, interval: 500 }).toBe(0);

  const [entry] = await find('subject:"alice-pseudonym"');
  expect(entry).toMatchObject({
    _msg: "GetObject",
    bucket: "geocrop-results",
    object: "jobs/job-1/result.tif",
    statusCode: "200",
    requestID: answered[0]?.id,
  });
  // As many as a client can write, which a client may do to hide: it is an entry like any other.
  const many = Object.fromEntries(Array.from({ length: 1_500 }, (_, n) => [`p${n}`, "v".repeat(15)]));
  answered.push(await pipeline.get(many));
  await expect.poll(() => unfound(answered), { timeout: 30_000, interval: 500 }).toBe(0);

  // It loses all it had, and is built anew from the trail.
  await stopIndex();
  await pipeline.killReceiver();
  await unlink(join(pipeline.data, "forward.json"));
  await pipeline.startReceiver();
  await startIndex("second");
  await expect.poll(() => unfound(answered), { timeout: 60_000, interval: 500 }).toBe(0);
  const sequence = (await find("*")).map(({ seq }) => Number(seq)).toSorted((one, other) => one - other);
  expect(sequence).toEqual(sequence.map((_, place) => place + 1));
  expect(JSON.stringify(await find("*"))).not.toMatch(/X-Amz-Signature|Authorization/i);
});
