import { type ChildProcess, execFile, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { heapFlags } from "../components/api/signed-url-api.ts";
import { bundleFile } from "../services/bundle.ts";
import { writeCertificate } from "../test/support/minio-server.ts";
import { steadyLoad } from "./steady-load.ts";

/**
 * Answers a second of the API, of a bare node:http server that sends the same bytes, and of what one would write first,
 * over loopback without TLS. The service has one core for itself, the load generator (wrk) another.
 *
 * Two figures each: by the wall's clock, and by the processor time that the service took, which other work on the machine
 * hardly touches. The ratios are of the medians over all rounds, all contenders in turn in each.
 *
 * npx node bench/api.ts [rounds] [seconds]
 * npx node bench/api.ts memory 1000000
 * npx node bench/api.ts latency 10000 [seconds]
 */
const run = promisify(execFile);
const directory = await mkdtemp(join(tmpdir(), "bench-"));
const program = join(directory, "api-service.mjs");
const at = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** How what is served without TLS compares says what the code costs; with TLS, as it is really served, what it weighs. */
interface Contender {
  service: "ours" | "bare" | "usual";
  jobs: number;
  tls?: boolean;
}

/** 100 jobs are asked again and again; of 4,000 the API remembers the URLs of the last 2,000 only, so it signs each. */
const contenders: Record<string, Contender> = {
  "bare node:http": { service: "bare", jobs: 100 },
  "ours, the same jobs": { service: "ours", jobs: 100 },
  "ours, another job's URL each": { service: "ours", jobs: 4000 },
  "Fastify, jose, minio-js": { service: "usual", jobs: 100 },
  "bare node:https": { service: "bare", jobs: 100, tls: true },
  "ours over TLS, the same jobs": { service: "ours", jobs: 100, tls: true },
  "ours over TLS, another's each": { service: "ours", jobs: 4000, tls: true },
};
const connections = 64;

interface Started {
  child: ChildProcess;
  port: number;
  token: string;
  tls: boolean;
}

interface Measured {
  perSecond: number;
  perProcessorSecond: number;
}

/** The certificate goes by the environment. */
async function certificate(): Promise<Record<string, string>> {
  await writeCertificate(directory);
  const [cert, key] = await Promise.all(
    ["tls.crt", "tls.key"].map((name) => readFile(join(directory, name), "utf8")),
  );
  return { BENCH_CERT: cert ?? "", BENCH_KEY: key ?? "" };
}

async function start({ service, tls = false }: Contender): Promise<Started> {
  const child = fork(program, tls ? [service, "tls"] : [service], {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    // As in a pod of 256 MiB (components/api/signed-url-api.ts).
    execArgv: heapFlags("256Mi"),
    env: { ...process.env, ...(tls ? await certificate() : {}) },
  });
  const [{ port, token }] = await once(child, "message");
  await run("taskset", ["-acp", "0", String(child.pid)]);
  return { child, port, token, tls };
}

async function load({ port, token, tls }: Started, jobs: number, seconds: number): Promise<string> {
  const { stdout } = await run(
    "taskset",
    [
      ..."-c 1 wrk --latency -t1".split(" "),
      `-c${connections}`,
      `-d${seconds}s`,
      "-s",
      at("api.lua"),
      "-H",
      `Authorization: Bearer ${token}`,
      `${tls ? "https" : "http"}://127.0.0.1:${port}`,
    ],
    { env: { ...process.env, BENCH_JOBS: String(jobs) } },
  );
  if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(stdout);
  return stdout;
}

async function usage({ child }: Started): Promise<{ rss: number; seconds: number }> {
  child.send("usage");
  const [{ rss, cpu }] = await once(child, "message");
  return { rss, seconds: (cpu.user + cpu.system) / 1e6 };
}

async function measure(contender: Contender, seconds: number): Promise<Measured> {
  const { jobs } = contender;
  const started = await start(contender);
  await load(started, jobs, jobs > 100 ? 4 : 2);
  const before = await usage(started);
  const said = await load(started, jobs, seconds);
  const after = await usage(started);
  started.child.disconnect();
  const requests = Number(/(\d+) requests in/.exec(said)?.[1]);
  return {
    perSecond: Number(/Requests\/sec: +([\d.]+)/.exec(said)?.[1]),
    perProcessorSecond: requests / (after.seconds - before.seconds),
  };
}

/** Resident memory after each tenth of so many requests. */
async function memory(requests: number): Promise<void> {
  const started = await start({ service: "ours", jobs: 4000 });
  let done = 0;
  while (done < requests) {
    const said = await load(started, 4000, 5);
    done += Number(/(\d+) requests in/.exec(said)?.[1]);
    const { rss } = await usage(started);
    process.stdout.write(
      `${done.toLocaleString("en").padStart(10)} requests  ${Math.round(rss / 2 ** 20)} MiB\n`,
    );
  }
  started.child.disconnect();
}

const median = (values: number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

async function compare(rounds: number, seconds: number): Promise<void> {
  const results = new Map<string, Measured[]>();
  for (let round = 0; round < rounds; round += 1) {
    for (const [name, contender] of Object.entries(contenders)) {
      results.set(name, [...(results.get(name) ?? []), await measure(contender, seconds)]);
    }
  }
  const rateOf = (name: string): number =>
    median((results.get(name) ?? []).map(({ perProcessorSecond }) => perProcessorSecond));
  for (const [name, measured] of results) {
    const rate = rateOf(name);
    const wall = median(measured.map(({ perSecond }) => perSecond));
    const bare = rateOf(contenders[name]?.tls === true ? "bare node:https" : "bare node:http");
    process.stdout.write(
      `${name.padEnd(30)} ${Math.round(wall)}/s  ${Math.round(rate)} per processor second, ${Math.round((100 * rate) / bare)} % of bare  (each round: ${measured.map(({ perProcessorSecond }) => Math.round(perProcessorSecond)).join(" ")})\n`,
    );
  }
}

/** How long answers take at so many requests a second. */
async function latency(rate: number, seconds: number): Promise<void> {
  const started = await start({ service: "ours", jobs: 100 });
  await load(started, 100, 2);
  // Like wrk, it leaves the service its core, and it is to be compiled before it measures.
  await run("taskset", ["-acp", "1", String(process.pid)]);
  await steadyLoad(started.port, started.token, rate, 5);
  const took = (await steadyLoad(started.port, started.token, rate, seconds)).toSorted();
  started.child.disconnect();
  const at = (share: number): string => (took[Math.floor(took.length * share)] ?? 0).toFixed(2);
  process.stdout.write(
    `${rate}/s: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, p99.9 ${at(0.999)} ms of ${took.length}\n`,
  );
}

const [first = "5", second = "4", third = "10"] = process.argv.slice(2);
try {
  // As in the image: the sources themselves would bring twice the heap, and its garbage collections.
  await bundleFile(at("api-service.ts"), program);
  if (first === "memory") await memory(Number(second));
  else if (first === "latency") await latency(Number(second), Number(third));
  else await compare(Number(first), Number(second));
} finally {
  await rm(directory, { recursive: true });
}
