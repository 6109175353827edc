import type { HttpsSend } from "../../common/https-client.ts";
import type { Presign } from "../signing/presign.ts";

/** How long the API waits for storage, per request. */
const timeoutMs = 3000;

/** How long a URL of the API's own use lives, in seconds: as long as it takes to call it, and some skew. */
const ownUrlSeconds = 60;

/** An object, or as much of it as was asked for. */
export interface StoredObject {
  /** Undefined when it was longer than allowed. */
  body: Buffer | undefined;
  /** Length in bytes of the whole object, whatever range was asked for. */
  size: number;
  etag: string | undefined;
  contentType: string | undefined;
}

/** Reads objects of the results bucket. */
export interface Storage {
  /**
   * @param key - a key that the caller built from checked parts
   * @param bounds - `maxBytes` of the body; `range` as in the HTTP header
   * @returns undefined when there is no such object (or none with that range)
   * @throws StorageError on any answer that says neither yes nor no
   */
  read: (key: string, bounds: { maxBytes: number; range?: string }) => Promise<StoredObject | undefined>;
}

/** Storage gave no usable answer: it can't be reached, is too slow, or refuses the API's own key. */
export class StorageError extends Error {
  override readonly name = "StorageError";
}

/** What {@link createStorage} needs. */
export interface StorageOptions {
  bucket: string;
  /** Signs for the address that this process calls. */
  presign: Presign;
  send: HttpsSend;
  /** Called when a read has ended. */
  onRead?: (outcome: "found" | "absent" | "failed", seconds: number) => void;
  /** @default the clock */
  now?: () => Date;
}

/**
 * Storage as the API's identity sees it. That identity may do one thing, query-signed GETs, so even what the
 * API reads itself it reads through URLs that it signs for the internal endpoint.
 */
export function createStorage(options: StorageOptions): Storage {
  const { bucket, presign, send, onRead = () => undefined, now = () => new Date() } = options;

  const read: Storage["read"] = async (key, { maxBytes, range }) => {
    const { url } = presign({ path: `/${bucket}/${key}`, expiresIn: ownUrlSeconds, now: now() });
    const headers = range === undefined ? {} : { range: `bytes=${range}` };
    const answer = await send(url, { headers, maxBytes, timeoutMs }).catch((error: unknown) => {
      throw new StorageError("storage did not answer", { cause: error });
    });
    const { status, headers: answered, body } = answer;
    if (status === 200 || status === 206) {
      const whole = /\/([0-9]+)$/.exec(answered["content-range"] ?? "")?.[1] ?? answered["content-length"];
      return { body, size: Number(whole), etag: answered.etag, contentType: answered["content-type"] };
    }
    const code = /<Code>(\w+)<\/Code>/.exec(body?.toString() ?? "")?.[1];
    // Only this says that the object is absent; a missing bucket or a refused key is an error.
    if (status === 404 && code === "NoSuchKey") return undefined;
    // An empty object has no first byte; no result is empty.
    if (status === 416) return undefined;
    throw new StorageError(`storage answered ${status} ${code ?? ""}`.trim());
  };

  return {
    async read(key, bounds) {
      const began = performance.now();
      const seconds = (): number => (performance.now() - began) / 1000;
      try {
        const stored = await read(key, bounds);
        onRead(stored === undefined ? "absent" : "found", seconds());
        return stored;
      } catch (error) {
        onRead("failed", seconds());
        throw error;
      }
    },
  };
}
