import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import type { RequestListener } from "node:http";
import { Agent, createServer, type Server } from "node:https";
import { Readable } from "node:stream";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import { createHttpsGet } from "../../services/common/https-get.ts";
import { freePort, writeCertificate } from "../support/minio-server.ts";

let directory: string;
let cert: Buffer;
let agent: Agent;
let server: Server;
const get = createHttpsGet(() => agent);

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "https-get-"));
  await writeCertificate(directory);
  cert = await readFile(join(directory, "tls.crt"));
});
afterAll(() => rm(directory, { recursive: true }));
afterEach(() => {
  agent.destroy();
  server.closeAllConnections();
  server.close();
});

/** A server that answers as told; its address. */
async function serve(answer: RequestListener): Promise<string> {
  agent = new Agent({ ca: cert, keepAlive: true });
  const port = await freePort();
  server = createServer({ cert, key: await readFile(join(directory, "tls.key")) }, answer);
  await once(server.listen(port, "127.0.0.1"), "listening");
  return `https://127.0.0.1:${port}/`;
}

function endless(): Readable {
  return new Readable({
    read() {
      this.push(Buffer.alloc(16_384));
    },
  });
}

test("a body that is too long is cut off, not read to its end", async () => {
  let closed = false;
  const url = await serve((_request, response) => {
    response.on("close", () => (closed = true));
    endless().pipe(response);
  });
  const answer = await get(url, { maxBytes: 100_000, timeoutMs: 5000 });
  expect(answer).toMatchObject({ status: 200, body: undefined });
  await expect.poll(() => closed).toBe(true);
});

test.each<[string, RequestListener]>([
  ["doesn't answer", () => undefined],
  ["doesn't answer to the end", (_request, response) => void response.write("half")],
])("a server that %s is given up", async (_what, answer) => {
  const url = await serve(answer);
  await expect(get(url, { maxBytes: 100, timeoutMs: 100 })).rejects.toThrow("aborted");
});

test("a connection that the server closed while it was idle is replaced", async () => {
  let requests = 0;
  const url = await serve((request, response) => {
    requests += 1;
    // The second request on a connection meets its end.
    if (requests === 2) request.socket.destroy();
    else response.end("whole");
  });
  for (let round = 0; round < 2; round += 1)
    expect((await get(url, { maxBytes: 100, timeoutMs: 5000 })).body?.toString()).toBe("whole");
  expect(requests).toBe(3);
});
