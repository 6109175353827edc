import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:https";
import { createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import * as pulumi from "@pulumi/pulumi";

import { certificateFiles } from "../../config/names.ts";
import { clusterSettings, kubernetesClient, loadCluster } from "../kubernetes/stack-cluster.ts";

/** Milliseconds for the server behind the tunnel to have its write quorum. */
const timeoutMs = 60_000;

/**
 * Why there is no tunnel. The SDK puts the name of every property that waits for a value before the message of the
 * error that ended it ("error serializing property", 17 times); this one keeps its message.
 */
export class TunnelError extends pulumi.RunError {
  constructor(message: string) {
    super(message);
    this.name = "TunnelError";
    Object.defineProperty(this, "message", { get: () => message, set: () => {} });
  }
}

export interface TunnelTarget {
  readonly namespace: string;
  readonly service: string;
  readonly port: number;
  /** The port on 127.0.0.1: fixed, since it is kept in the state as the provider's address. */
  readonly localPort: number;
  /** The Secret whose `ca.crt` vouches for the server. */
  readonly certificateSecret: string;
  /** That certificate, where it is known already. @default read from the Secret */
  readonly authority?: string | undefined;
}

export interface Tunnel {
  /** `127.0.0.1:<port>` */
  readonly address: string;
  /**
   * The authority's certificate, relative to the project. It is there only while the tunnel is: a `pulumi
   * refresh` without the program then fails for want of it, where it would otherwise take "connection refused"
   * for "gone" and drop every bucket from the state (provider 0.17.1).
   */
  readonly authorityFile: string;
}

/**
 * Opens a way to a server that no network policy lets in: through the Kubernetes API, to a ready pod of its
 * Service, for as long as this process runs. Access is thus what Kubernetes RBAC says of `pods/portforward`.
 *
 * Only the first connection loads a Kubernetes client and waits for the server's write quorum: a preview without
 * changes makes none. Nothing of it keeps the process alive: the engine's own calls do, until the last resource is
 * done.
 *
 * @throws TunnelError when the port is taken or the Secret cannot be read.
 */
export async function openTunnel(target: TunnelTarget): Promise<Tunnel> {
  const authority = target.authority ?? (await certificateAuthority(target));
  await listen(forwardingServer(target, authority), target.localPort);

  const authorityFile = `.pulumi-tunnel/${target.namespace}-${target.localPort}-use---run-program.crt`;
  mkdirSync(dirname(authorityFile), { recursive: true, mode: 0o700 });
  writeFileSync(authorityFile, authority, { mode: 0o600 });
  onExit(() => rmSync(authorityFile, { force: true }));
  return { address: `127.0.0.1:${target.localPort}`, authorityFile };
}

/** Runs the work when this process ends, by Ctrl-C too; signals do to it what they did before. */
function onExit(work: () => void): void {
  process.once("exit", work);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      work();
      if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
    });
  }
}

/** The authority's certificate in the server's Secret. @throws TunnelError when it is not there. */
async function certificateAuthority({ namespace, certificateSecret: name }: TunnelTarget): Promise<string> {
  const { ApiException, CoreV1Api } = await kubernetesClient();
  const cluster = await loadCluster(clusterSettings());
  try {
    const secret = await cluster.makeApiClient(CoreV1Api).readNamespacedSecret({ namespace, name });
    const encoded = secret.data?.[certificateFiles.authority];
    if (encoded !== undefined) return Buffer.from(encoded, "base64").toString("utf8");
  } catch (error) {
    if (!(error instanceof ApiException)) throw error;
    throw new TunnelError(
      error.code === 404
        ? `Secret ${namespace}/${name} is missing: MinIO's certificate, which it holds, cannot be checked. Create the Secret with ${Object.values(certificateFiles).join(", ")}, or set tls.issuer to one that issues it.`
        : `Secret ${namespace}/${name}, which holds MinIO's certificate, cannot be read (${error.code}): ask for the right to get Secrets in ${namespace}.`,
    );
  }
  throw new TunnelError(
    `Secret ${namespace}/${name} has no ca.crt, so MinIO's certificate cannot be checked: use an issuer that gives its authority's certificate (a cert-manager CA issuer does, ACME does not).`,
  );
}

/** Puts a connection through to the pod; ends when the way is open. */
type Forward = (socket: Socket) => Promise<void>;

function forwardingServer(target: TunnelTarget, authority: string): Server {
  let forward: Promise<Forward> | undefined;
  const server = createServer((socket) => {
    socket.unref();
    socket.on("error", () => socket.destroy());
    forward ??= openForwarder(target, authority);
    // Where the way to the pod fails, the client sees its connection end; why, is for the person who runs Pulumi.
    forward
      .then((open) => open(socket))
      .catch((error: unknown) => {
        socket.destroy();
        void pulumi.log.warn(
          `The tunnel to MinIO failed: ${error instanceof Error ? error.message : String(error)}`,
        );
      });
  });
  server.unref();
  return server;
}

/** The way through the Kubernetes API, known to end at a server with its write quorum. @throws Error when it has none. */
async function openForwarder(target: TunnelTarget, authority: string): Promise<Forward> {
  const { PortForward } = await kubernetesClient();
  const api = new PortForward(await loadCluster(clusterSettings()));
  const { namespace, service, port } = target;
  const forward: Forward = async (socket) => {
    const connection = await api.portForwardService(namespace, service, [port], socket, null, socket);
    if (typeof connection === "function") throw new TypeError("a connection that restarts was not asked for");
    underlyingSocket(connection)?.unref();
    connection.on("close", () => socket.destroy());
    connection.on("error", () => socket.destroy());
    socket.on("close", () => connection.close());
  };
  await untilHealthy(forward, authority);
  return forward;
}

/** `ws` keeps its socket to itself, and has no `unref` of its own. */
function underlyingSocket(connection: object): Pick<Socket, "unref"> | undefined {
  const socket: unknown = Reflect.get(connection, "_socket");
  return typeof socket === "object" &&
    socket !== null &&
    "unref" in socket &&
    typeof socket.unref === "function"
    ? { unref: socket.unref.bind(socket) }
    : undefined;
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) =>
      reject(
        new TunnelError(
          `Port ${port} on 127.0.0.1, which the tunnel to MinIO needs, is unavailable (${error.message}): end what uses it, or set geocrop-storage:tunnelPort to a free port.`,
        ),
      ),
    );
    server.listen(port, "127.0.0.1", () => resolve());
  });
}

/** Asks through a way of its own, since the tunnel's door waits for the answer. */
async function untilHealthy(forward: Forward, ca: string): Promise<void> {
  const probe = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    forward(socket).catch(() => socket.destroy());
  });
  await listen(probe, 0);
  const address = probe.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const deadline = Date.now() + timeoutMs;
  let last: string;
  try {
    do {
      last = await health(port, ca);
      if (last === "200") return;
      await sleep(1000);
    } while (Date.now() < deadline);
  } finally {
    probe.close();
  }
  throw new Error(
    `MinIO has had no write quorum for ${timeoutMs / 1000} s (/minio/health/cluster: ${last}): see its pods' state and logs, then run again.`,
  );
}

function health(port: number, ca: string): Promise<string> {
  return new Promise((resolve) => {
    const request = get(
      { host: "127.0.0.1", port, path: "/minio/health/cluster", ca, agent: false, timeout: 5000 },
      (response) => {
        response.resume();
        resolve(String(response.statusCode));
      },
    );
    request.on("timeout", () => request.destroy(new Error("no answer within 5 s")));
    request.on("error", (error) => resolve(error.message));
  });
}
