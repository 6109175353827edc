import { readFile } from "node:fs/promises";
import { Agent, request } from "node:https";
import { rootCertificates } from "node:tls";

export interface SenderOptions {
  /** An authority trusted beside the public ones; need not be there. */
  readonly authorityFile: string;
  /** Value of the Authorization header, asked for at each request. */
  readonly authorization: () => Promise<string | undefined>;
  /** Milliseconds for a whole request. @default 10 seconds */
  readonly timeout?: number;
}

/** Posts bodies to one address. The answer must be 2xx, or the promise is rejected, naming nothing of the request. */
export function createSender(
  url: URL,
  { authorityFile, authorization, timeout = 10_000 }: SenderOptions,
): (body: string, contentType: string) => Promise<void> {
  let agent: Agent | undefined;

  return async (body, contentType) => {
    agent ??= new Agent({ keepAlive: true, ca: await trusted(authorityFile) });
    const value = await authorization();
    const headers = {
      "content-type": contentType,
      "content-length": Buffer.byteLength(body),
      ...(value === undefined ? {} : { authorization: value }),
    };
    const signal = AbortSignal.timeout(timeout);
    await new Promise<void>((resolve, reject) => {
      request(url, { method: "POST", agent, headers, signal }, (answer) => {
        const status = answer.statusCode ?? 0;
        answer.on("error", reject).on("end", () => {
          if (status >= 200 && status < 300) resolve();
          else reject(new Error(`${url.host} answered ${status}`));
        });
        answer.resume();
      })
        .on("error", reject)
        .end(body);
    }).catch((error: unknown) => {
      // The authority may have been renewed meanwhile.
      agent?.destroy();
      agent = undefined;
      throw error;
    });
  };
}

async function trusted(authorityFile: string): Promise<string[]> {
  const own = await readFile(authorityFile, "utf8").catch(() => undefined);
  return [...rootCertificates, ...(own === undefined ? [] : [own])];
}
