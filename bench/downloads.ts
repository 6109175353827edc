/**
 * What the download gateway costs: `npm run bench:downloads [-- --rounds 5] [--size 1024]`.
 *
 * One object through three ways in turn, so that a busy machine troubles all alike: MinIO itself, a stock nginx that makes
 * the same two TLS hops without a filter, and the gateway. Needs root (nginx runs in its image's root) and curl.
 */
import { execFile } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, open, readdir, readFile, rm } from "node:fs/promises";
import { Agent, request } from "node:https";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";

import { apiSignerPolicy } from "../components/access/iam-policies.ts";
import { ensureBuilds } from "../sandbox/cluster/builds.ts";
import { ensureBase } from "../sandbox/cluster/images/bases.ts";
import { layoutOf } from "../sandbox/layout.ts";
import { runner } from "../sandbox/run.ts";
import { createPresigner } from "../services/signed-url-api/signing/presign.ts";
import { type Gateway, startGateway } from "../test/support/download-gateway.ts";
import { freePort, startMinio } from "../test/support/minio-server.ts";

const execute = promisify(execFile);
const { values } = parseArgs({
  options: { rounds: { type: "string", default: "5" }, size: { type: "string", default: "1024" } },
});
const rounds = Number(values.rounds);
const mebibytes = Number(values.size);
const bucket = "geocrop-results";
const big = `/${bucket}/jobs/job-1/result.tif`;
const small = `/${bucket}/jobs/job-1/small.tif`;
const middle = `/${bucket}/jobs/job-1/middle.tif`;

const layout = layoutOf();
const run = runner(new AbortController().signal);
const built = await ensureBuilds(layout, run, { note: () => undefined, doing: () => undefined });
const base = await ensureBase("nginx", { cacheDir: layout.cache, run });
const directory = await mkdtemp(join(tmpdir(), "bench-downloads-"));
const minio = await startMinio({ minio: join(built.minio, "minio"), mc: join(built.mc, "mc") });
const cleanups: (() => Promise<unknown>)[] = [minio.remove, () => rm(directory, { recursive: true })];

/** nginx as one would write it in five minutes: the same hops, verified the same, and all else at its defaults. */
function stock(port: number, upstream: string): string {
  return `daemon off; worker_processes 2; pid /tmp/nginx.pid; error_log stderr error;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path /tmp/a; proxy_temp_path /tmp/b; fastcgi_temp_path /tmp/c; uwsgi_temp_path /tmp/d; scgi_temp_path /tmp/e;
  upstream minio { server ${upstream}; keepalive 32; }
  server {
    listen ${port} ssl;
    ssl_certificate /etc/geocrop/tls/tls.crt;
    ssl_certificate_key /etc/geocrop/tls/tls.key;
    location = /healthz { return 200; }
    location / {
      proxy_pass https://minio;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate /etc/geocrop/tls/ca.crt;
      proxy_ssl_name localhost;
    }
  }
}
`;
}

const upstream = `localhost:${new URL(minio.origin).port}`;
const plainPort = await freePort();
const plain = await startGateway({
  base,
  ca: minio.ca,
  upstream,
  bucket,
  port: plainPort,
  config: () => stock(plainPort, upstream),
});
// Its limit of requests a second is out of the way: all of these come from one address.
const limits = { connections: 256, requestsPerSecond: 100_000 };
const gateway = await startGateway({ base, ca: minio.ca, upstream, bucket, limits });
cleanups.unshift(plain.remove, gateway.remove);

const signer = { accessKey: "api-signer-1", secretKey: randomUUID() };

/** Each way's origin and the file of the certificate that it shows. */
const ways = {
  "MinIO itself": { origin: minio.origin, caFile: minio.caFile },
  "stock nginx": { origin: plain.origin, caFile: join(plain.tls, "tls.crt") },
  gateway: { origin: gateway.origin, caFile: join(gateway.tls, "tls.crt") },
} as const;
type Way = keyof typeof ways;
const names: readonly Way[] = ["MinIO itself", "stock nginx", "gateway"];

function signed(way: Way, path: string): string {
  const presign = createPresigner(ways[way].origin, "us-east-1", () => signer);
  return presign({ path, expiresIn: 3600, now: new Date() }).url;
}

async function put(path: string, bytes: number): Promise<void> {
  const file = join(directory, "object");
  const handle = await open(file, "w");
  const block = randomBytes(1024 * 1024);
  for (let left = bytes; left > 0; left -= block.length)
    await handle.write(block, 0, Math.min(left, block.length));
  await handle.close();
  await minio.mc("cp", file, `t${path}`);
  await rm(file);
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((one, other) => one - other)[Math.floor(numbers.length / 2)] ?? 0;
}

function row(...cells: readonly string[]): void {
  process.stdout.write(`| ${cells.join(" | ")} |\n`);
}

/** MiB a second of one download by curl. */
async function throughput(way: Way, protocol = "--http1.1"): Promise<number> {
  const format = ["-w", "%{http_code} %{size_download} %{time_total}"];
  // The URL by a configuration on its input: it is a credential, and arguments can be seen.
  const child = execute("curl", [
    "-sS",
    protocol,
    "--cacert",
    ways[way].caFile,
    "-o",
    "/dev/null",
    ...format,
    "-K",
    "-",
  ]);
  child.child.stdin?.end(`url = "${signed(way, big)}"\n`);
  const [status, size, seconds] = (await child).stdout.split(" ").map(Number);
  if (status !== 200 || size !== mebibytes * 1024 * 1024) throw new Error(`${way}: ${status}, ${size} bytes`);
  return mebibytes / (seconds ?? Infinity);
}

/** Milliseconds to the first byte of each of many small downloads, one after the other on one connection. */
async function firstBytes(way: Way, count: number): Promise<number[]> {
  const agent = new Agent({ ca: await readFile(ways[way].caFile), keepAlive: true, maxSockets: 1 });
  const times: number[] = [];
  for (let n = 0; n < count; n += 1) {
    const url = signed(way, small);
    const began = performance.now();
    await new Promise<void>((resolve, reject) => {
      request(url, { agent }, (answer) => {
        times.push(performance.now() - began);
        answer.on("error", reject).on("end", resolve).resume();
        if (answer.statusCode !== 200) reject(new Error(`${way}: ${answer.statusCode}`));
      })
        .on("error", reject)
        .end();
    });
  }
  agent.destroy();
  return times.slice(count / 10);
}

/** Downloads at once. @returns how each ended; `whole` is how they should */
async function atOnce(way: Way, count: number, bytes: number): Promise<string[]> {
  const agent = new Agent({ ca: await readFile(ways[way].caFile), maxSockets: count });
  const one = (): Promise<string> =>
    new Promise((resolve) => {
      request(signed(way, middle), { agent }, (answer) => {
        let got = 0;
        answer
          .on("data", (chunk: Buffer) => (got += chunk.length))
          .on("error", ({ message }) => {
            resolve(`${message} after ${got} bytes`);
          })
          .on("end", () => {
            resolve(
              answer.statusCode === 200 && got === bytes ? "whole" : `${answer.statusCode}, ${got} bytes`,
            );
          });
      })
        .on("error", ({ message }) => {
          resolve(message);
        })
        .end();
    });
  const ends = await Promise.all(Array.from({ length: count }, one));
  agent.destroy();
  return ends;
}

/** nginx's master and workers. */
async function processes({ process: { pid } }: Gateway): Promise<number[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8");
  return [pid ?? 0, ...children.trim().split(" ").map(Number)];
}

async function residentMebibytes(of: Gateway): Promise<number> {
  const sizes = (await processes(of)).map(async (pid) => {
    const status = await readFile(`/proc/${pid}/status`, "utf8");
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
  });
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

/** Seconds of CPU that processes used, in user and in kernel mode. */
async function cpuSeconds(
  pids: readonly number[],
): Promise<{ readonly user: number; readonly kernel: number }> {
  let user = 0;
  let kernel = 0;
  for (const pid of pids) {
    const fields = (await readFile(`/proc/${pid}/stat`, "utf8")).replace(/^.*\) /, "").split(" ");
    user += Number(fields[11]) / 100;
    kernel += Number(fields[12]) / 100;
  }
  return { user, kernel };
}

async function minioProcess(): Promise<number> {
  const port = new URL(minio.origin).port;
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const line = await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "");
    if (line.startsWith(built.minio) && line.includes(`127.0.0.1:${port}`)) return Number(name);
  }
  throw new Error("MinIO has no process");
}

try {
  await minio.mc("mb", `t/${bucket}`);
  await minio.addUser(signer, apiSignerPolicy(bucket));
  await put(big, mebibytes * 1024 * 1024);
  await put(small, 1024);
  const middleBytes = 8 * 1024 * 1024;
  await put(middle, middleBytes);

  const speeds: Record<Way, number[]> = { "MinIO itself": [], "stock nginx": [], gateway: [] };
  const http2: number[] = [];
  for (const name of names) await throughput(name);
  for (let round = 0; round < rounds; round += 1) {
    for (const name of names) speeds[name].push(await throughput(name));
    http2.push(await throughput("gateway", "--http2"));
  }
  const direct = median(speeds["MinIO itself"]);
  process.stdout.write(
    `${cpus().length} cores, ${mebibytes} MiB over TLS on loopback, median of ${rounds} rounds\n\n`,
  );
  row("way", "MiB/s", "of MinIO itself", "of stock nginx");
  row("---", "---", "---", "---");
  const percent = (share: number): string => `${(share * 100).toFixed(0)} %`;
  for (const name of names) {
    const speed = median(speeds[name]);
    row(name, speed.toFixed(0), percent(speed / direct), percent(speed / median(speeds["stock nginx"])));
  }
  row(
    "gateway, HTTP/2",
    median(http2).toFixed(0),
    percent(median(http2) / direct),
    percent(median(http2) / median(speeds["stock nginx"])),
  );

  process.stdout.write("\n");
  const pids = { nginx: await processes(gateway), MinIO: [await minioProcess()] };
  const before = { nginx: await cpuSeconds(pids.nginx), MinIO: await cpuSeconds(pids.MinIO) };
  await throughput("gateway");
  const after = { nginx: await cpuSeconds(pids.nginx), MinIO: await cpuSeconds(pids.MinIO) };
  row(`CPU of one download of ${mebibytes} MiB by the gateway`, "user", "kernel");
  row("---", "---", "---");
  for (const name of ["MinIO", "nginx"] as const) {
    const spent = (mode: "user" | "kernel"): string =>
      `${(after[name][mode] - before[name][mode]).toFixed(2)} s`;
    row(name, spent("user"), spent("kernel"));
  }

  process.stdout.write("\n");
  row("first byte of 1 KiB, one connection, 1 after the other", "p50", "p99");
  row("---", "---", "---");
  const times: Record<Way, number[]> = { "MinIO itself": [], "stock nginx": [], gateway: [] };
  for (let round = 0; round < 4; round += 1) {
    for (const name of names) times[name].push(...(await firstBytes(name, 200)));
  }
  for (const name of names) {
    const sorted = times[name].toSorted((one, other) => one - other);
    const at = (share: number): string => `${(sorted[Math.floor(sorted.length * share)] ?? 0).toFixed(2)} ms`;
    row(name, at(0.5), at(0.99));
  }

  process.stdout.write("\n");
  row("200 downloads at once, of 8 MiB each, by the gateway", "whole", "nginx's memory after");
  row("---", "---", "---");
  row("before", "-", `${(await residentMebibytes(gateway)).toFixed(0)} MiB`);
  for (let round = 1; round <= 8; round += 1) {
    const ends = await atOnce("gateway", 200, middleBytes);
    const failed = ends.filter((end) => end !== "whole");
    row(
      `round ${round}`,
      [`${200 - failed.length} of 200`, ...failed].join("; "),
      `${(await residentMebibytes(gateway)).toFixed(0)} MiB`,
    );
  }
} finally {
  for (const cleanup of cleanups) await cleanup();
}
