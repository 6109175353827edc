/**
 * What the audit trail loses, and when: `npm run bench:audit [-- --minutes 5] [--rounds 5]`.
 *
 * First the receiver is away for some minutes under load; then MinIO itself is ended under several loads, by SIGTERM
 * and by SIGKILL, with one event a file in its queue (as the stack has it) and with batches.
 */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";

import { ensureBuilds } from "../sandbox/cluster/builds.ts";
import { layoutOf } from "../sandbox/layout.ts";
import { runner } from "../sandbox/run.ts";
import { verify } from "../services/audit-receiver/audit-log-reader.ts";
import { type Got, type Pipeline, startPipeline } from "../test/support/audit-pipeline.ts";

const { values } = parseArgs({
  options: { minutes: { type: "string", default: "5" }, rounds: { type: "string", default: "5" } },
});
const built = await ensureBuilds(layoutOf(), runner(new AbortController().signal), {
  note: () => undefined,
  doing: () => undefined,
});
const binaries = { minio: join(built.minio, "minio"), mc: join(built.mc, "mc") };

function row(...cells: readonly (string | number)[]): void {
  process.stdout.write(`| ${cells.join(" | ")} |\n`);
}

/** Files in MinIO's queue that are not empty: it never sends an empty one. */
async function waiting({ queue }: Pipeline): Promise<number> {
  const sizes = await Promise.all(
    (await readdir(queue)).map((name) =>
      stat(join(queue, name)).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  return sizes.filter((size) => size > 0).length;
}

async function drain(pipeline: Pipeline): Promise<void> {
  for (let quiet = 0; quiet < 4; await delay(1_000)) quiet = (await waiting(pipeline)) === 0 ? quiet + 1 : 0;
}

async function lost(pipeline: Pipeline, answered: readonly Got[]): Promise<number> {
  const ids = await pipeline.stored();
  return answered.filter(({ id }) => !ids.has(id)).length;
}

function percentile(requests: readonly Got[], share: number): string {
  const times = requests.map(({ took }) => took).toSorted((one, other) => one - other);
  return `${(times[Math.floor(times.length * share)] ?? 0).toFixed(1)} ms`;
}

async function receiverAway(minutes: number): Promise<void> {
  const pipeline = await startPipeline(binaries);
  try {
    const before = pipeline.load(4, 40);
    await delay(15_000);
    await before.stop();
    await pipeline.killReceiver();
    const load = pipeline.load(4, 40);
    await delay(minutes * 60_000);
    const queued = await waiting(pipeline);
    const during = [...load.answered];
    await pipeline.startReceiver();
    const began = performance.now();
    await delay(10_000);
    await load.stop();
    await drain(pipeline);
    const seconds = (performance.now() - began) / 1000 - 4;
    const ids = await pipeline.stored();
    const answered = [...before.answered, ...load.answered];
    row("what", "measured");
    row("---", "---");
    row(`requests answered while the receiver was away for ${minutes} min`, during.length);
    row("requests that failed", load.failures());
    row("p50, p99 before", `${percentile(before.answered, 0.5)}, ${percentile(before.answered, 0.99)}`);
    row("p50, p99 while away", `${percentile(during, 0.5)}, ${percentile(during, 0.99)}`);
    row("files in MinIO's queue at the end", queued);
    row("time until the queue was empty, under load for its first 10 s", `${seconds.toFixed(0)} s`);
    row("events a second while it emptied", Math.round(queued / seconds));
    row("answered requests that are not in the trail", await lost(pipeline, answered));
    row("answered requests that are in it twice", answered.filter(({ id }) => (ids.get(id) ?? 0) > 1).length);
    row("chain", (await verify(pipeline.data)).faults.length === 0 ? "whole" : "broken");
  } finally {
    await pipeline.remove();
  }
}

async function minioEnds(rounds: number): Promise<void> {
  process.stdout.write("\n");
  row("signal", "events a file", "load", "answered a second", `lost, each of ${rounds} ends`);
  row("---", "---", "---", "---", "---");
  for (const batchSize of [1, 100]) {
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      for (const [title, clients, pause] of [
        ["2 clients, 40 ms apart", 2, 40],
        ["4 clients, 20 ms apart", 4, 20],
        ["8 clients without pause", 8, 0],
      ] as const) {
        const counts: number[] = [];
        const rates: number[] = [];
        for (let round = 0; round < rounds; round += 1) {
          const pipeline = await startPipeline(binaries, { batchSize });
          try {
            const load = pipeline.load(clients, pause);
            await delay(5_000);
            rates.push(load.answered.length / 5);
            await pipeline.minio.stop(signal);
            await load.stop();
            await pipeline.minio.start();
            await delay(2_000);
            await drain(pipeline);
            counts.push(await lost(pipeline, load.answered));
          } finally {
            await pipeline.remove();
          }
        }
        const rate = Math.round(rates.reduce((sum, one) => sum + one, 0) / rates.length);
        row(signal, batchSize, title, rate, counts.join(", "));
      }
    }
  }
}

if (Number(values.minutes) > 0) await receiverAway(Number(values.minutes));
if (Number(values.rounds) > 0) await minioEnds(Number(values.rounds));
