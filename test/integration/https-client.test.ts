import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import type { RequestListener } from "node:http";
import { createServer, type Server } from "node:https";
import { Readable } from "node:stream";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";

import { HttpsClient } from "../../services/common/https-client.ts";
import { freePort, writeCertificate } from "../support/minio-server.ts";

const bounds = { maxBytes: 100, timeoutMs: 5000 };
let directory: string;
let cert: Buffer;
let client: HttpsClient;
let server: Server | undefined;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "https-client-"));
  await writeCertificate(directory);
  cert = await readFile(join(directory, "tls.crt"));
});
afterAll(() => rm(directory, { recursive: true }));
beforeEach(() => {
  client = new HttpsClient(cert);
});
afterEach(async () => {
  await client.close();
  server?.closeAllConnections();
  server?.close();
});

/** A server that answers as told. @returns its address */
async function serve(answer: RequestListener): Promise<string> {
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
  const answer = await client.send(url, { maxBytes: 100_000, timeoutMs: 5000 });
  expect(answer).toMatchObject({ status: 200, body: undefined });
  await expect.poll(() => closed).toBe(true);
});

test.each<[string, RequestListener]>([
  ["doesn't answer", () => undefined],
  ["doesn't answer to the end", (_request, response) => void response.write("half")],
])("a server that %s is given up", async (_what, answer) => {
  const url = await serve(answer);
  await expect(client.send(url, { maxBytes: 100, timeoutMs: 100 })).rejects.toThrow("aborted");
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
    expect((await client.send(url, bounds)).body?.toString()).toBe("whole");
  expect(requests).toBe(3);
});

test("a POST is not sent twice, and arrives whole", async () => {
  const bodies: string[] = [];
  const url = await serve((request, response) => {
    request.on("data", (chunk: Buffer) => {
      bodies.push(chunk.toString());
      if (bodies.length === 2) request.socket.destroy();
      else response.end();
    });
  });
  const post = { ...bounds, method: "POST", body: "entries", headers: { "x-a": "b" } } as const;
  expect((await client.send(url, post)).status).toBe(200);
  await expect(client.send(url, post)).rejects.toThrow("other side closed");
  expect(bodies).toEqual(["entries", "entries"]);
});

test("a redirect is an answer, not followed", async () => {
  let requests = 0;
  const url = await serve((_request, response) => {
    requests += 1;
    response.writeHead(302, { location: "/elsewhere" }).end();
  });
  const { status, headers } = await client.send(url, bounds);
  expect({ status, location: headers["location"], requests }).toEqual({
    status: 302,
    location: "/elsewhere",
    requests: 1,
  });
});

test("only the given authorities are trusted, others from the moment they are given", async () => {
  const url = await serve((_request, response) => void response.end("whole"));
  const doubtful = new HttpsClient();
  try {
    await expect(doubtful.send(url, bounds)).rejects.toThrow(/certificate/);
    expect(() => doubtful.trust(Buffer.from("not a certificate"))).toThrow(/PEM/i);
    await expect(doubtful.send(url, bounds)).rejects.toThrow(/certificate/);
    doubtful.trust(cert);
    expect((await doubtful.send(url, bounds)).body?.toString()).toBe("whole");
  } finally {
    await doubtful.close();
  }
});
