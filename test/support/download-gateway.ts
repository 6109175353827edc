import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chown, copyFile, cp, mkdir, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import type { OutgoingHttpHeaders } from "node:http";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";

import { nginxConfig, type NginxConfigArgs } from "../../components/downloads/download-gateway-config.ts";
import { freePort, writeCertificate } from "./minio-server.ts";

const execute = promisify(execFile);

/** Why the image's nginx cannot run here; undefined where it can. */
export const gatewayCannotRun =
  process.getuid?.() !== 0
    ? "needs root, to run nginx in the image's root file system"
    : existsSync("/usr/bin/mmdebstrap")
      ? undefined
      : "needs the package mmdebstrap, which makes the image's root file system";

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

/** An nginx as it is in its image: the same binary, in a root of its own, as uid 1000. */
export interface Gateway {
  /** `https://localhost:<port>` */
  readonly origin: string;
  /** Folder of `tls.crt`, `tls.key` and MinIO's `ca.crt`. */
  readonly tls: string;
  /** The master process. */
  readonly process: ChildProcess;
  /** Everything it wrote, on both its logs. */
  readonly logs: () => Promise<string>;
  readonly accessLog: () => Promise<Record<string, unknown>[]>;
  /** Ends it and deletes its root. */
  readonly remove: () => Promise<void>;
}

export interface GatewayOptions extends Pick<
  NginxConfigArgs,
  "upstream" | "bucket" | "port" | "limits" | "trustedProxies" | "allowedOrigins"
> {
  /** The image's root file system (sandbox/cluster/images/bases.ts). */
  readonly base: string;
  /** What it verifies MinIO by. */
  readonly ca: Buffer;
  /** Another configuration than the stack's, given what the stack's would be. For comparisons. */
  readonly config?: (stack: string) => string;
}

/** Starts a gateway and waits until it answers. */
export async function startGateway({ base, ca, config, ...args }: GatewayOptions): Promise<Gateway> {
  const directory = await mkdtemp(join(tmpdir(), "gateway-"));
  const root = join(directory, "root");
  const tls = join(root, "etc/geocrop/tls");
  const port = args.port ?? (await freePort());
  await cp(base, root, { recursive: true, verbatimSymlinks: true });
  await Promise.all([
    mkdir(tls, { recursive: true }),
    mkdir(join(root, "etc/nginx")),
    mkdir(join(root, "dev")),
  ]);
  await execute("mknod", ["-m", "666", join(root, "dev/null"), "c", "1", "3"]);
  await renewCertificate(tls);
  await writeFile(join(tls, "ca.crt"), ca);
  await writeFile(join(root, "etc/hosts"), "127.0.0.1 localhost\n");
  const stack = nginxConfig({ ...args, port, accessLog: "/tmp/access.log" });
  await writeFile(join(root, "etc/nginx/nginx.conf"), config?.(stack) ?? stack);
  const stderr = await open(join(directory, "stderr.log"), "w");
  // In the pod only /tmp can be written to; here it's the rights of uid 1000 that see to that.
  const child = spawn("chroot", ["--userspec=1000:1000", root, "/usr/sbin/nginx", "-e", "stderr"], {
    stdio: ["ignore", "ignore", stderr.fd],
  });
  await stderr.close();
  const read = (path: string): Promise<string> => readFile(join(directory, path), "utf8");
  const gateway: Gateway = {
    origin: `https://localhost:${port}`,
    tls,
    process: child,
    logs: async () => (await read("stderr.log")) + (await read("root/tmp/access.log")),
    accessLog: async () =>
      (await read("root/tmp/access.log"))
        .split("\n")
        .filter((line) => line !== "")
        .map((line): Record<string, unknown> => JSON.parse(line)),
    remove: async () => {
      if (child.exitCode === null) {
        child.kill("SIGTERM");
        await once(child, "exit");
      }
      await rm(directory, { recursive: true });
    },
  };
  for (let tries = 0; tries < 50 && child.exitCode === null; tries += 1) {
    const answer = await send(gateway, "/healthz").catch(() => undefined);
    if (answer?.status === 200) return gateway;
    await delay(100);
  }
  const said = await read("stderr.log");
  await gateway.remove();
  throw new Error(`nginx did not start: ${said}`);
}

export interface Sent {
  readonly method?: string;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string;
}

/** One request over a connection of its own, its target sent byte for byte. */
export async function send(
  { origin, tls }: Pick<Gateway, "origin" | "tls">,
  target: string,
  { method = "GET", headers = {}, body }: Sent = {},
): Promise<Answer> {
  const agent = new Agent({ ca: await readFile(join(tls, "tls.crt")) });
  const { hostname, port } = new URL(origin);
  return new Promise((resolve, reject) => {
    request({ hostname, servername: hostname, port, path: target, method, agent, headers }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on("data", (chunk: Buffer) => chunks.push(chunk));
      answer.on("error", reject);
      answer.on("end", () => {
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.headers,
          body: Buffer.concat(chunks),
        });
      });
    })
      .on("error", reject)
      .end(body);
  });
}

/** A new certificate in the place of the former, readable by uid 1000, as a mounted Secret is. */
export async function renewCertificate(directory: string): Promise<void> {
  const fresh = await mkdtemp(join(tmpdir(), "gateway-tls-"));
  await writeCertificate(fresh);
  for (const name of ["tls.key", "tls.crt"]) {
    await copyFile(join(fresh, name), join(directory, name));
    await chown(join(directory, name), 1000, 1000);
  }
  await rm(fresh, { recursive: true });
}
