import { createServer } from "node:http";
import { connect } from "node:net";
import { afterEach, describe, expect, test, vi } from "vitest";
import { createApp } from "../../../../services/audit-receiver/app.ts";
import type { Batch, Journal } from "../../../../services/audit-receiver/journal.ts";

const AUTHORIZATION = "Bearer t0k3n";
let close: (() => void) | undefined;

afterEach(() => {
  close?.();
});

/** The app behind a plain HTTP server on loopback, with a journal that only remembers. */
async function start(
  options: {
    readonly failure?: Error;
    readonly token?: string;
    readonly bodyLimit?: number;
    readonly memoryLimit?: number;
  } = {},
): Promise<{
  readonly url: string;
  readonly port: number;
  readonly batches: Batch[];
  readonly report: ReturnType<typeof vi.fn>;
}> {
  const batches: Batch[] = [];
  const journal: Journal = {
    append: (batch) => {
      if (options.failure !== undefined) return Promise.reject(options.failure);
      batches.push(batch);
      return Promise.resolve();
    },
    counts: () => ({ stored: 0, repeated: 0, rejected: 0, failed: 0, removed: 0 }),
    lastSeq: () => 0,
    close: () => Promise.resolve(),
  };
  const report = vi.fn<(message: string, error: unknown) => void>();
  const server = createServer(
    createApp({
      journal,
      report,
      token: () => Promise.resolve(options.token ?? "t0k3n"),
      bodyLimit: options.bodyLimit ?? 1_000,
      ...(options.memoryLimit === undefined ? {} : { memoryLimit: options.memoryLimit }),
    }),
  );
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  close = () => {
    server.closeAllConnections();
    server.close();
  };
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  const { port } = address;
  return { url: `http://127.0.0.1:${port}`, port, batches, report };
}

async function post(
  url: string,
  body: string | Uint8Array<ArrayBuffer>,
  authorization = AUTHORIZATION,
): Promise<number> {
  const response = await fetch(`${url}/audit`, { method: "POST", body, headers: { authorization } });
  return response.status;
}

describe("what is stored", () => {
  test("one object, masked", async () => {
    const { url, batches } = await start();
    expect(await post(url, '{"requestQuery":{"X-Amz-Signature":"s3cr3t"}}\n')).toBe(200);
    expect(batches).toEqual([{ events: ['{"requestQuery":{"X-Amz-Signature":"***"}}'], rejects: [] }]);
  });

  test("a batch of lines; what is no object goes to the quarantine and is no reason to refuse the rest", async () => {
    const { url, batches } = await start();
    expect(await post(url, '{"a":1}\nX-Amz-Signature=s3cr3t\n\n[1]\n{"b":2}\n')).toBe(200);
    expect(batches[0]?.events).toEqual(['{"a":1}', '{"b":2}']);
    expect(batches[0]?.rejects.map(({ text }) => text)).toEqual(["X-Amz-Signature=***", "[1]"]);
  });

  test("an object over several lines", async () => {
    const { url, batches } = await start();
    expect(await post(url, JSON.stringify({ a: { b: 1 } }, null, 2))).toBe(200);
    expect(batches).toEqual([{ events: ['{"a":{"b":1}}'], rejects: [] }]);
  });
});

describe("no body is refused", () => {
  test.each([
    ["nothing", ""],
    ["no JSON", "hello"],
    ["a list", "[]"],
    ["null", "null"],
    ["bytes that are no UTF-8", new Uint8Array([0x7b, 0xff, 0xfe, 0x00])],
    ["a torn object", '{"a":{"Cookie":"s3cr3t'],
  ])("%s", async (_, body) => {
    const { url, batches } = await start();
    expect(await post(url, body)).toBe(200);
    expect(batches[0]?.events).toEqual([]);
    expect(batches[0]?.rejects).toHaveLength(1);
    expect(JSON.stringify(batches)).not.toContain("s3cr3t");
  });

  test("more than the limit: its beginning is kept, its size told", async () => {
    const { url, batches } = await start();
    expect(await post(url, `{"a":"${"x".repeat(100_000)}"}`)).toBe(200);
    expect(batches[0]?.rejects[0]).toMatchObject({ bytes: 100_008, reason: "longer than 1000 bytes" });
    expect(batches[0]?.rejects[0]?.text).toHaveLength(1_000);
  });

  test("nesting too deep to be walked", async () => {
    const { url, batches } = await start({ bodyLimit: 1_000_000 });
    expect(await post(url, `{"a":${"[".repeat(200_000)}${"]".repeat(200_000)}}`)).toBe(200);
    expect(batches[0]?.rejects).toHaveLength(1);
  });
});

describe("who may write", () => {
  test.each([
    ["no token", ""],
    ["a wrong token", "Bearer t0k3m"],
    ["a longer token", "Bearer t0k3nn"],
    ["the bare token", "t0k3n"],
    ["another scheme", "Basic t0k3n"],
  ])("%s: 401 and nothing stored", async (_, authorization) => {
    const { url, batches } = await start();
    expect(await post(url, "{}", authorization)).toBe(401);
    expect(batches).toEqual([]);
  });

  test("an empty token file lets nobody in", async () => {
    const { url } = await start({ token: "" });
    expect(await post(url, "{}", "Bearer ")).toBe(401);
  });
});

test("only a failing disk makes MinIO keep the event: 503, told to the log but not to the client", async () => {
  const { url, report } = await start({ failure: new Error("ENOSPC") });
  const response = await fetch(`${url}/audit`, {
    method: "POST",
    body: "{}",
    headers: { authorization: AUTHORIZATION },
  });
  expect(response.status).toBe(503);
  expect(await response.text()).toBe("");
  expect(report).toHaveBeenCalledOnce();
});

test("bodies that do not fit into memory together are taken one after the other", async () => {
  const { url, batches } = await start({ bodyLimit: 1_000, memoryLimit: 1_500 });
  const bodies = Array.from({ length: 30 }, (_, n) => JSON.stringify({ n, pad: "x".repeat(900) }));
  const statuses = await Promise.all(bodies.map((body) => post(url, body)));
  expect(new Set(statuses)).toEqual(new Set([200]));
  expect(batches).toHaveLength(30);
});

test("a client that hangs up within its body leaves nothing behind", async () => {
  const { port, batches, report } = await start();
  const socket = connect(port, "127.0.0.1");
  socket.write(
    `POST /audit HTTP/1.1\r\nHost: a\r\nAuthorization: ${AUTHORIZATION}\r\nContent-Length: 100\r\n\r\n{}`,
  );
  await new Promise((resolve) => setTimeout(resolve, 100));
  socket.destroy();
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(batches).toEqual([]);
  expect(report).not.toHaveBeenCalled();
});

test.each([
  ["GET", "/healthz", 200],
  ["GET", "/readyz", 200],
  ["GET", "/audit", 405],
  ["POST", "/other", 404],
])("%s %s is %i", async (method, path, status) => {
  const { url } = await start();
  expect((await fetch(url + path, { method })).status).toBe(status);
});
