import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server as HttpsServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";

import { exportJWK, generateKeyPair, SignJWT, type CryptoKey } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { startLiveApi, type LiveApi } from "../support/live-api.ts";
import { writeCertificate } from "../support/minio-server.ts";

const picture = Buffer.from("II*\0 not much of a picture");
let live: LiveApi;

beforeAll(async () => {
  live = await startLiveApi({ CORS_ORIGINS: "https://map.test" });
  await live.submit("job-1", "alice", picture);
  await live.submit("job-2", "bob", picture);
});
afterAll(() => live.remove());

const authorization = async (subject: string): Promise<string> => `Bearer ${await live.token(subject)}`;
const ask = async (path: string, headers = {}) => live.send(live.origin + path, { headers });
const download = "/api/v1/results/job-1/download";

describe("a user whose token and job are cached", () => {
  test("gets every other answer as if they were not", async () => {
    const headers = { authorization: await authorization("alice") };
    await ask(download, headers);
    const cases: [string, Record<string, string>, string, number][] = [
      ["GET", { ...headers, accept: "image/tiff" }, download, 302],
      ["GET", { ...headers, origin: "https://map.test" }, download, 200],
      ["HEAD", headers, download, 200],
      ["GET", headers, `${download}/`, 404],
      ["GET", headers, download.replace("job-1", "job%2d1"), 400],
      ["GET", { authorization: headers.authorization.toUpperCase() }, download, 401],
      ["GET", {}, download, 401],
      ["GET", { authorization: await authorization("bob") }, download, 404],
    ];
    for (const [method, sent, path, status] of cases) {
      const answer = await live.send(live.origin + path, { method, headers: sent });
      expect([path, answer.status]).toEqual([path, status]);
    }
    const cors = await ask(download, { ...headers, origin: "https://map.test" });
    expect(cors.headers["access-control-allow-origin"]).toBe("https://map.test");
  });

  test("is held to the limits", async () => {
    const limited = await live.startAnother({ RATE_PER_SUBJECT: "100" });
    const headers = { authorization: await authorization("alice") };
    const statuses: number[] = [];
    for (let count = 0; count < 120; count += 1) {
      statuses.push((await live.send(`https://127.0.0.1:${limited.port}${download}`, { headers })).status);
    }
    expect(statuses.slice(0, 100)).toEqual(Array.from({ length: 100 }, () => 200));
    expect(statuses.slice(105)).toContain(429);
  });
});

describe("requests that Node's parser refuses", () => {
  test.each([
    [
      "a token of a megabyte",
      `GET ${download} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${"a".repeat(2 ** 20)}\r\n\r\n`,
      431,
    ],
    ["an address of a megabyte", `GET /${"a".repeat(2 ** 20)} HTTP/1.1\r\nHost: x\r\n\r\n`, 431],
    ["no HTTP", "\x16\x03\x01 hello\r\n\r\n", 400],
    [
      "two lengths",
      `POST ${download} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n`,
      400,
    ],
    [
      "a length and chunks",
      `POST ${download} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
    ],
  ])("%s: a problem as any other", async (_what, text, status) => {
    const socket = connect({ host: "127.0.0.1", port: live.api.port, rejectUnauthorized: false });
    await once(socket, "secureConnect");
    let answer = "";
    socket.on("data", (chunk: Buffer) => (answer += chunk.toString())).on("error", () => undefined);
    socket.write(text);
    await once(socket, "close");
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(answer).toMatch(/content-type: application\/problem\+json/i);
    expect(answer).toContain(`"status":${status}`);
  });
});

test("an absent job and somebody else's are answered within the same time", async () => {
  const headers = { authorization: await authorization("alice") };
  const bobs = { authorization: await authorization("bob") };
  const times: Record<string, number[]> = { absent: [], others: [] };
  for (let round = 0; round < 150; round += 1) {
    // The owner uses the job all the while, so that it is in the API's memory.
    await ask("/api/v1/results/job-2/download", bobs);
    for (const [name, jobId] of round % 2 === 0
      ? [
          ["absent", "none"],
          ["others", "job-2"],
        ]
      : [
          ["others", "job-2"],
          ["absent", "none"],
        ]) {
      const began = performance.now();
      expect((await ask(`/api/v1/results/${jobId}/download`, headers)).status).toBe(404);
      times[name ?? ""]?.push(performance.now() - began);
    }
  }
  const median = (values: number[] = []): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
  const [absent, others] = [median(times["absent"]), median(times["others"])];
  expect(absent).toBeGreaterThanOrEqual(19);
  // Timers of a whole millisecond hide the rest.
  expect(Math.abs(absent - others)).toBeLessThan(1.5);
});

test("metrics are on a port of their own, over TLS, and not on the users' port", async () => {
  const { status, headers, body } = await live.send(`https://127.0.0.1:${live.api.metricsPort}/metrics`);
  expect(status).toBe(200);
  expect(headers["content-type"]).toMatch(/^text\/plain; version=0\.0\.4/);
  expect(body.toString()).toMatch(/geocrop_api_storage_read_duration_seconds_count\{outcome="found"\} [1-9]/);
  expect(body.toString()).not.toMatch(/alice|job-1|Bearer/);
  expect((await ask("/metrics")).status).toBe(404);
  expect(
    (await live.send(`https://127.0.0.1:${live.api.metricsPort}/api/v1/results/job-1/download`)).status,
  ).toBe(404);
});

describe("an issued URL", () => {
  /** Every way to touch a URL, by name. */
  function mutations(url: URL): [string, string, Record<string, string>?, string?][] {
    const query = url.search.slice(1).split("&");
    const at = (parameters: string[]): string => `${url.origin}${url.pathname}?${parameters.join("&")}`;
    const flip = (text: string): string => text.slice(0, -1) + (text.endsWith("0") ? "1" : "0");
    const each = query.flatMap((pair, index): [string, string][] => {
      const [name = "", value = ""] = pair.split("=");
      const replace = (...by: string[]): string => at(query.toSpliced(index, 1, ...by));
      return [
        [`${name} changed`, replace(`${name}=${flip(value)}`)],
        [`${name} emptied`, replace(`${name}=`)],
        [`${name} dropped`, replace()],
        [`${name} doubled with another value`, replace(`${name}=${flip(value)}`, pair)],
        [`${name} doubled behind with another value`, replace(pair, `${name}=${flip(value)}`)],
        [
          `${name} with its name in other case`,
          replace(`${name.startsWith("X") ? name.toLowerCase() : name.toUpperCase()}=${value}`),
        ],
        [`${name} longer`, replace(`${pair}0`)],
      ];
    });
    const path = (pathname: string): string => `${url.origin}${pathname}${url.search}`;
    const longer = url.search.replace(/X-Amz-Expires=\d+/, "X-Amz-Expires=604800");
    return [
      ...each,
      ["a parameter added", `${url.href}&versionId=null`],
      ["a part number added", `${url.href}&partNumber=1`],
      ["another disposition added", `${url.href}&response-content-type=text%2Fhtml`],
      ["a tagging query", `${url.href}&tagging`],
      ["an ACL query", `${url.href}&acl=`],
      ["a week of life", `${url.origin}${url.pathname}${longer}`],
      ["the manifest", path("/geocrop-results/jobs/job-1/job.json")],
      ["another job", path("/geocrop-results/jobs/job-2/result.tif")],
      ["another bucket", path("/geocrop-models/jobs/job-1/result.tif")],
      ["the bucket", path("/geocrop-results/")],
      ["the path in capitals", path(url.pathname.toUpperCase())],
      ["a slash at the end", path(`${url.pathname}/`)],
      ["a doubled slash", path(url.pathname.replace("/jobs", "//jobs"))],
      ["dots", path("/geocrop-results/jobs/x/../job-2/result.tif")],
      ["another Host", url.href, { host: "evil.test" }],
      ["another port in Host", url.href, { host: `${url.hostname}:1` }],
      ...["HEAD", "PUT", "POST", "DELETE"].map((method): [string, string, Record<string, string>, string] => [
        method,
        url.href,
        {},
        method,
      ]),
    ];
  }

  test("opens nothing once it is touched anywhere; what is only reordered is the same URL", async () => {
    const answer = await ask(download, { authorization: await authorization("alice") });
    const { url: text }: { url: string } = JSON.parse(answer.body.toString());
    const url = new URL(text);
    const all = mutations(url);
    expect(all.length).toBeGreaterThan(75);
    const whole = await live.send(text);
    const disposition = whole.headers["content-disposition"];
    const opened: string[] = [];
    for (const [what, href, headers = {}, method = "GET"] of all) {
      const got = await live.send(href, { headers, method });
      if ([400, 403, 404, 405, 411].includes(got.status) && !got.body.includes(picture)) continue;
      // MinIO takes the first of two equal names among its own parameters, which is the signed one, and no other's.
      const sameAnswer = got.body.equals(picture) && got.headers["content-disposition"] === disposition;
      if (/^X-Amz-\w+ doubled behind/.test(what) && sameAnswer) continue;
      opened.push(`${what}: ${got.status}`);
    }
    expect(opened).toEqual([]);
    const reordered = `${url.origin}${url.pathname}?${url.search.slice(1).split("&").toReversed().join("&")}`;
    expect((await live.send(reordered)).status).toBe(200);
    expect(whole.body).toEqual(picture);
  });
});

describe("keys from a live issuer", () => {
  let server: HttpsServer;
  let directory: string;
  let url: string;
  let answer: { status: number; text: string };
  let asked = 0;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "issuer-"));
    await writeCertificate(directory);
    const [cert, key] = await Promise.all(
      ["tls.crt", "tls.key"].map((name) => readFile(join(directory, name))),
    );
    server = createServer({ cert, key }, (_request, response) => {
      asked += 1;
      response.writeHead(answer.status, { location: "https://127.0.0.1:1/" }).end(answer.text);
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    url = `https://127.0.0.1:${typeof address === "object" ? address?.port : ""}/jwks.json`;
  });
  afterAll(async () => {
    server.close().closeAllConnections();
    await rm(directory, { recursive: true });
  });

  const newKey = async (kid: string) => {
    const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
    return { kid, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: "ES256" } };
  };
  const bearerOf = async ({ kid, privateKey }: { kid: string; privateKey: CryptoKey }, header = {}) =>
    new SignJWT({})
      .setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid, ...header })
      .setIssuer("https://issuer.test")
      .setAudience("geocrop-api")
      .setSubject("alice")
      .setExpirationTime("10m")
      .sign(privateKey);
  const publish = (...keys: object[]): void =>
    void (answer = { status: 200, text: JSON.stringify({ keys }) });
  const start = () =>
    live.startAnother({ JWKS_FILE: undefined, JWKS_URL: url, JWKS_CA_FILE: join(directory, "tls.crt") });
  const statusOf = async (port: number, bearer: string): Promise<number> =>
    (
      await live.send(`https://127.0.0.1:${port}${download}`, {
        headers: { authorization: `Bearer ${bearer}` },
      })
    ).status;

  test("are fetched before the first token, kept through an outage, and never from where a token says", async () => {
    const key = await newKey("k1");
    publish(key.jwk);
    const before = asked;
    const { port, metricsPort } = await start();
    await expect.poll(() => asked - before).toBe(1);
    expect(await statusOf(port, await bearerOf(key))).toBe(200);
    answer = { status: 500, text: "down" };
    expect(await statusOf(port, await bearerOf(key, { jku: "https://127.0.0.1:1/evil" }))).toBe(200);
    const stranger = await newKey("k9");
    expect(await statusOf(port, await bearerOf(stranger, { jku: url, jwk: stranger.jwk }))).toBe(401);
    // The cool-down: a made-up key id right after a fetch makes none.
    expect(asked - before).toBe(1);
    const { body } = await live.send(`https://127.0.0.1:${metricsPort}/metrics`);
    expect(body.toString()).toMatch(/geocrop_api_issuer_keys_age_seconds \d/);
  });

  test.each([
    ["a redirect", { status: 302, text: "" }],
    ["no JSON", { status: 200, text: "<html>" }],
    ["no key set", { status: 200, text: '{"keys":"none"}' }],
    ["more than they can be", { status: 200, text: " ".repeat(300_000) }],
  ])("that are %s let nobody in, and are an outage, not a wrong token", async (_what, answered) => {
    answer = answered;
    const { port } = await start();
    expect(await statusOf(port, await bearerOf(await newKey("k1")))).toBe(503);
  });

  test("of an issuer whose certificate is not trusted are not taken", async () => {
    const key = await newKey("k1");
    publish(key.jwk);
    const { port } = await live.startAnother({ JWKS_FILE: undefined, JWKS_URL: url });
    expect(await statusOf(port, await bearerOf(key))).toBe(503);
  });

  test("of the wrong file are refused while the good ones stay", async () => {
    const file = join(directory, "jwks.json");
    const key = await newKey("k1");
    await writeFile(file, JSON.stringify({ keys: [key.jwk] }));
    const { port, refresh } = await live.startAnother({ JWKS_FILE: file });
    const bearer = await bearerOf(key);
    expect(await statusOf(port, bearer)).toBe(200);
    await writeFile(file, "{");
    await refresh();
    expect(await statusOf(port, bearer)).toBe(200);
    await writeFile(file, JSON.stringify({ keys: [(await newKey("k2")).jwk] }));
    await refresh();
    // A token verified a moment ago is not good any more either.
    expect(await statusOf(port, bearer)).toBe(401);
  });
});
