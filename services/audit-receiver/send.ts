import { readFile } from "node:fs/promises";
import { rootCertificates } from "node:tls";

import { HttpsClient } from "../common/https-client.ts";

export interface SenderOptions {
  /** A certificate authority trusted beside the public ones; need not exist. */
  readonly authorityFile: string;
  /** Value of the Authorization header, asked for at each request. */
  readonly authorization: () => Promise<string | undefined>;
  /** For a whole request. @default 10 seconds */
  readonly timeoutMs?: number;
}

/** Posts bodies to one address. */
export interface Sender {
  /** @throws Error, naming nothing of the request, when the answer is not 2xx or does not come in time */
  readonly send: (body: string, contentType: string) => Promise<void>;
  readonly close: () => Promise<void>;
}

/** No index answers a push with more. */
const MAX_ANSWER_BYTES = 64 * 1024;

export function createSender(
  url: URL,
  { authorityFile, authorization, timeoutMs = 10_000 }: SenderOptions,
): Sender {
  let client: HttpsClient | undefined;
  const close = async (): Promise<void> => {
    const closing = client;
    client = undefined;
    await closing?.close();
  };

  const post = async (body: string, contentType: string): Promise<void> => {
    client ??= new HttpsClient(await trusted(authorityFile));
    const value = await authorization();
    const { status } = await client.send(url.href, {
      method: "POST",
      headers: { "content-type": contentType, ...(value === undefined ? {} : { authorization: value }) },
      body,
      maxBytes: MAX_ANSWER_BYTES,
      timeoutMs,
    });
    if (status < 200 || status >= 300) throw new Error(`${url.host} answered ${status}`);
  };

  return {
    async send(body, contentType) {
      try {
        await post(body, contentType);
      } catch (error) {
        // The authority may have been renewed meanwhile: the next request reads it again.
        await close();
        throw error;
      }
    },
    close,
  };
}

async function trusted(authorityFile: string): Promise<string[]> {
  const own = await readFile(authorityFile, "utf8").catch(() => undefined);
  return [...rootCertificates, ...(own === undefined ? [] : [own])];
}
