import { readFileSync } from "node:fs";
import { Agent } from "node:https";
import { join } from "node:path";
import { Readable } from "node:stream";
import { parseArgs } from "node:util";

import { Client } from "minio";

const usage = "usage: put --bucket B --key K --bytes N [--content-type T]   (N bytes on standard input)";

/** The S3 limit of a single PUT: 5 GiB. */
const MAX_BYTES = 5 * 1024 ** 3;

/** No byte from standard input for this long, in milliseconds: the other end is gone, and waiting would hold the pod for ever. */
const defaultStallMs = 60_000;

/** What one upload is, from the command line. */
export interface Upload {
  bucket: string;
  key: string;
  /** Exactly so many bytes are read from the input. */
  bytes: number;
  contentType: string;
}

/** What the server answered, as printed on standard output. */
export interface Uploaded {
  bucket: string;
  key: string;
  etag: string | null;
  version_id: string | null;
  bytes: number;
}

/**
 * Reads the command line.
 *
 * @throws Error that says what is wrong and how it is used
 */
export function readArguments(args: string[]): Upload {
  const { values } = parseArgs({
    args,
    options: {
      bucket: { type: "string" },
      key: { type: "string" },
      bytes: { type: "string" },
      "content-type": { type: "string", default: "application/octet-stream" },
    },
  });
  const { bucket, key, bytes } = values;
  if (bucket === undefined || key === undefined || bytes === undefined) throw new Error(usage);
  const count = Number(bytes);
  if (!/^\d+$/.test(bytes) || count > MAX_BYTES)
    throw new Error(`--bytes ${bytes} must be a whole number from 0 to ${MAX_BYTES}\n${usage}`);
  return { bucket, key, bytes: count, contentType: values["content-type"] };
}

/**
 * The first `count` bytes of a stream, and not one read more: an exec session over a websocket never ends its
 * standard input, so an end of file can't be waited for.
 *
 * @throws Error when the stream ends or stalls before
 */
export async function* exactly(
  input: Readable,
  count: number,
  stallMs: number = defaultStallMs,
): AsyncGenerator<Buffer> {
  let missing = count;
  if (missing === 0) return;
  const stalled = setTimeout(() => {
    input.destroy(new Error(`no input for ${stallMs / 1000} s, ${missing} of ${count} bytes missing`));
  }, stallMs);
  try {
    for await (const chunk of input as AsyncIterable<Buffer>) {
      stalled.refresh();
      const wanted = chunk.subarray(0, missing);
      missing -= wanted.length;
      yield wanted;
      if (missing === 0) return;
    }
  } finally {
    clearTimeout(stalled);
  }
  throw new Error(`input ended early: ${missing} of ${count} bytes missing`);
}

/**
 * Stores the input as one object with one header-signed PUT.
 *
 * `putObject` would hold the whole object in memory, and above 64 MiB ask for the right to list uploads; this
 * needs `s3:PutObject` only. A short input breaks the request off, and the server keeps nothing of it.
 */
export async function put(client: Client, upload: Upload, input: Readable): Promise<Uploaded> {
  const response = await client.makeRequestStreamAsync(
    {
      method: "PUT",
      bucketName: upload.bucket,
      objectName: upload.key,
      headers: { "content-length": String(upload.bytes), "content-type": upload.contentType },
    },
    Readable.from(exactly(input, upload.bytes), { objectMode: false }),
    "",
    [200],
    "",
  );
  response.resume();
  const { etag, "x-amz-version-id": version } = response.headers;
  return {
    bucket: upload.bucket,
    key: upload.key,
    etag: etag?.replaceAll('"', "") ?? null,
    version_id: typeof version === "string" ? version : null,
    bytes: upload.bytes,
  };
}

/**
 * A client for the endpoint and identity that the pod's environment names.
 *
 * @throws Error when a variable or a mounted file is missing
 */
export function clientFromEnvironment(env: NodeJS.ProcessEnv): Client {
  const need = (name: string): string => {
    const value = env[name];
    if (value === undefined || value === "") throw new Error(`${name} is not set`);
    return value;
  };
  const endpoint = new URL(need("S3_ENDPOINT"));
  if (endpoint.protocol !== "https:")
    throw new Error(`S3_ENDPOINT ${endpoint.origin} must be an https address`);
  const credentials = env["CREDENTIALS_DIR"] ?? "/etc/geocrop/credentials";
  return new Client({
    endPoint: endpoint.hostname,
    port: Number(endpoint.port) || 443,
    useSSL: true,
    accessKey: readFileSync(join(credentials, "access-key"), "utf8").trim(),
    secretKey: readFileSync(join(credentials, "secret-key"), "utf8").trim(),
    region: env["S3_REGION"] ?? "us-east-1",
    transportAgent: new Agent({ ca: readFileSync(need("S3_CA_FILE")) }),
    // A stream can be sent only once.
    retryOptions: { disableRetry: true },
  });
}

if (import.meta.main) {
  try {
    const upload = readArguments(process.argv.slice(2));
    const done = await put(clientFromEnvironment(process.env), upload, process.stdin);
    process.stdout.write(`${JSON.stringify(done)}\n`);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
  // An open standard input would keep the process.
  process.stdin.destroy();
}
