import { type ChildProcess, execFile, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { heapFlags } from "../components/api/signed-url-api.ts";
import { bundleFile } from "../services/bundle.ts";
import { steadyLoad } from "./steady-load.ts";

/**
 * The API's bounds, over loopback without TLS: at least 5 times as many answers as Fastify, jose and minio-js give for
 * the same jobs in the same run, a p99 under 10 ms at half its top rate, and flat memory. The service has one core for
 * itself, the load generator (wrk) another. Exits with 1 when a bound is exceeded.
 *
 * Rates are by the processor time that the service took, which other work on the machine hardly touches: medians over
 * all rounds, both contenders in turn in each.
 *
 * npx node bench/api.ts [rounds] [seconds]
 */
const bounds = { timesUsual: 5, p99Ms: 10, memoryGrowth: 1.1 };
const connections = 64;
const warmUpSeconds = 6;

const run = promisify(execFile);
const directory = await mkdtemp(join(tmpdir(), "bench-"));
const program = join(directory, "api-service.mjs");
const at = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

type Contender = "ours" | "usual";

interface Started {
  child: ChildProcess;
  port: number;
  token: string;
}

interface Rate {
  perSecond: number;
  perProcessorSecond: number;
}

async function start(contender: Contender): Promise<Started> {
  const child = fork(program, [contender], {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    // As in a pod of 256 MiB (components/api/signed-url-api.ts).
    execArgv: heapFlags("256Mi"),
  });
  const [{ port, token }] = await once(child, "message");
  await run("taskset", ["-acp", "0", String(child.pid)]);
  return { child, port, token };
}

/** @returns what wrk printed, and the answers it got */
async function load({ port, token }: Started, jobs: number, seconds: number) {
  const options = `-c 1 wrk --latency -t1 -c${connections} -d${seconds}s -s`.split(" ");
  const { stdout } = await run(
    "taskset",
    [...options, at("api.lua"), "-H", `Authorization: Bearer ${token}`, `http://127.0.0.1:${port}`],
    { env: { ...process.env, BENCH_JOBS: String(jobs) } },
  );
  if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(stdout);
  return {
    answers: Number(/(\d+) requests in/.exec(stdout)?.[1]),
    perSecond: Number(/Requests\/sec: +([\d.]+)/.exec(stdout)?.[1]),
  };
}

async function usage({ child }: Started): Promise<{ rss: number; seconds: number }> {
  child.send("usage");
  const [{ rss, cpu }] = await once(child, "message");
  return { rss, seconds: (cpu.user + cpu.system) / 1e6 };
}

/** By processor time, not the clock's: other work on the machine leaves a service with cold code. */
async function warmUp(started: Started, jobs: number): Promise<void> {
  while ((await usage(started)).seconds < warmUpSeconds) await load(started, jobs, 1);
}

async function measureRate(contender: Contender, jobs: number, seconds: number): Promise<Rate> {
  const started = await start(contender);
  await warmUp(started, jobs);
  const before = await usage(started);
  const { answers, perSecond } = await load(started, jobs, seconds);
  const after = await usage(started);
  started.child.disconnect();
  return { perSecond, perProcessorSecond: answers / (after.seconds - before.seconds) };
}

const median = (values: number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

function report(what: string, measured: string, bound: string, met: boolean): void {
  process.stdout.write(`${met ? "ok  " : "FAIL"} ${what.padEnd(36)} ${measured}  (bound: ${bound})\n`);
  if (!met) process.exitCode = 1;
}

/** @returns the API's top rate, answers a second */
async function checkRate(rounds: number, seconds: number): Promise<number> {
  const rates: Record<Contender, Rate[]> = { ours: [], usual: [] };
  for (let round = 0; round < rounds; round += 1) {
    for (const contender of ["ours", "usual"] as const)
      rates[contender].push(await measureRate(contender, 100, seconds));
  }
  const [ours = 0, usual = 0] = [rates.ours, rates.usual].map((measured) =>
    median(measured.map(({ perProcessorSecond }) => perProcessorSecond)),
  );
  report(
    "the same jobs, per processor second",
    `${Math.round(ours)}, Fastify + jose + minio-js ${Math.round(usual)}: ${(ours / usual).toFixed(1)} times`,
    `at least ${bounds.timesUsual} times`,
    ours >= bounds.timesUsual * usual,
  );
  return median(rates.ours.map(({ perSecond }) => perSecond));
}

/** How long answers take at so many requests a second. */
async function checkLatency(rate: number, seconds: number): Promise<void> {
  const started = await start("ours");
  await warmUp(started, 100);
  // Like wrk, this process leaves the service its core; it warms up before it measures.
  await run("taskset", ["-acp", "1", String(process.pid)]);
  await steadyLoad(started.port, started.token, rate, 2);
  const took = (await steadyLoad(started.port, started.token, rate, seconds)).toSorted();
  started.child.disconnect();
  const quantile = (share: number): number => took[Math.floor(took.length * share)] ?? 0;
  const p99 = quantile(0.99);
  report(
    `p99 at half the top rate, ${rate}/s`,
    `${p99.toFixed(2)} ms (p50 ${quantile(0.5).toFixed(2)} ms, of ${took.length})`,
    `under ${bounds.p99Ms} ms`,
    p99 < bounds.p99Ms,
  );
}

/** Resident memory over six loads of another job's URL each, which are all signed. */
async function checkMemory(seconds: number): Promise<void> {
  const started = await start("ours");
  await warmUp(started, 4000);
  const readings: number[] = [];
  let answers = 0;
  while (readings.length < 6) {
    answers += (await load(started, 4000, seconds)).answers;
    readings.push(Math.round((await usage(started)).rss / 2 ** 20));
  }
  started.child.disconnect();
  const [first, second] = [Math.max(...readings.slice(0, 3)), Math.max(...readings.slice(3))];
  report(
    "memory over signed URLs",
    `${readings.join(", ")} MiB over ${answers} answers`,
    `second half at most ${bounds.memoryGrowth} times the first`,
    second <= bounds.memoryGrowth * first,
  );
}

const [rounds = 3, seconds = 4] = process.argv.slice(2).map(Number);
try {
  // As in the image: the sources themselves would bring twice the heap, and its garbage collections.
  await bundleFile(at("api-service.ts"), program);
  const topRate = await checkRate(rounds, seconds);
  await checkLatency(Math.round(topRate / 2), seconds);
  await checkMemory(seconds);
} finally {
  await rm(directory, { recursive: true });
}
