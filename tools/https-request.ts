import { request } from "node:https";

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

export interface RequestOptions {
  /** @default GET */
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** The authority, in PEM, that the server's certificate must come from. */
  readonly ca: string;
}

/** One HTTPS request on a connection of its own; the URL is sent as it is written. @throws Error after 30 s. */
export function httpsRequest(url: string, options: RequestOptions): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { method = "GET", headers = {}, ca } = options;
    const sent = request(url, { method, headers, ca, agent: false, timeout: 30_000 }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
      );
    });
    sent.on("timeout", () => sent.destroy(new Error(`${new URL(url).origin} said nothing for 30 s`)));
    sent.on("error", reject);
    sent.end();
  });
}
