import { request as httpsRequest, Agent, type RequestOptions } from "node:https";
import { duplexPair, type Duplex } from "node:stream";
import { connect as tlsConnect, type ConnectionOptions, type TLSSocket } from "node:tls";

import { type KubeConfig, PortForward } from "@kubernetes/client-node";

/** A connection to a pod's port through the Kubernetes API; no port of this machine is opened for it. */
export async function connectToPod(
  cluster: KubeConfig,
  namespace: string,
  pod: string,
  port: number,
): Promise<Duplex> {
  const [ours, theirs] = duplexPair();
  const socket = await new PortForward(cluster).portForward(namespace, pod, [port], theirs, null, theirs);
  if (typeof socket === "function") throw new TypeError("a connection that restarts was not asked for");
  socket.on("close", () => theirs.destroy());
  socket.on("error", () => theirs.destroy());
  ours.on("close", () => socket.close());
  ours.on("error", () => socket.close());
  return ours;
}

/** What a TLS handshake came to: the connection, or why there is none. */
export async function handshake(
  stream: Duplex,
  options: ConnectionOptions,
): Promise<TLSSocket | { readonly refusal: string }> {
  return new Promise((resolve) => {
    const socket = tlsConnect({ ...options, socket: stream });
    const refuse = (refusal: string): void => {
      stream.destroy();
      resolve({ refusal });
    };
    socket.once("secureConnect", () => resolve(socket));
    socket.once("error", (error) => refuse("code" in error ? String(error.code) : error.message));
    socket.once("close", () => refuse("the connection was closed"));
    setTimeout(() => refuse("no answer within 5 s"), 5000).unref();
  });
}

/** HTTPS to one server in the cluster, its certificate checked against one authority and name. */
export class PodHttps {
  readonly #agent: Agent;
  readonly #host: string;

  constructor(open: () => Promise<Duplex>, tls: { readonly ca: string; readonly servername: string }) {
    this.#host = tls.servername;
    this.#agent = new ForwardingAgent(open, tls);
  }

  /** @param path as it goes over the wire, query included. @throws Error without any of the query. */
  async request(
    method: string,
    path: string,
    headers: Readonly<Record<string, string>> = {},
    body: string | Buffer = "",
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const fail = (error: Error): void =>
        reject(new Error(`${method} ${path.replace(/\?.*/s, "")} on ${this.#host}: ${error.message}`));
      const content =
        method === "GET" || method === "HEAD" ? {} : { "content-length": String(Buffer.byteLength(body)) };
      const options: RequestOptions = {
        method,
        path,
        host: this.#host,
        headers: { host: this.#host, ...headers, ...content },
        agent: this.#agent,
        timeout: 10_000,
      };
      const sent = httpsRequest(options, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", fail);
        response.on("end", () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks),
          }),
        );
      });
      sent.on("timeout", () => sent.destroy(new Error("no answer within 10 s")));
      // A server may close a kept connection just as it is used again: that request was not looked at.
      sent.on("error", (error) => {
        const isStale = sent.reusedSocket && "code" in error && error.code === "ECONNRESET";
        if (isStale) resolve(this.request(method, path, headers, body));
        else fail(error);
      });
      sent.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

class ForwardingAgent extends Agent {
  readonly #open: () => Promise<Duplex>;
  readonly #tls: ConnectionOptions;

  constructor(open: () => Promise<Duplex>, tls: ConnectionOptions) {
    super({ keepAlive: true, maxSockets: 4 });
    this.#open = open;
    this.#tls = tls;
  }

  override createConnection(
    _options: unknown,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    void this.#connect(callback);
  }

  async #connect(callback?: (error: Error | null, stream: Duplex) => void): Promise<void> {
    try {
      const socket = await handshake(await this.#open(), this.#tls);
      if ("refusal" in socket) throw new Error(`no TLS connection: ${socket.refusal}`);
      callback?.(null, socket);
    } catch (error) {
      callback?.(error instanceof Error ? error : new Error(String(error)), duplexPair()[0]);
    }
  }
}
