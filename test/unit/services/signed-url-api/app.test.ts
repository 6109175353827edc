import { exportJWK, generateKeyPair, UnsecuredJWT } from "jose";
import { describe, expect, test } from "vitest";

import type { HttpsSend } from "../../../../services/common/https-client.ts";
import { pseudonym } from "../../../../services/signed-url-api/signing/issuance.ts";
import { isDownloadTarget } from "../../../../services/signed-url-api/jobs/job-id.ts";
import { mayRead, readManifest } from "../../../../services/signed-url-api/jobs/ownership.ts";
import {
  ask,
  audience,
  bench,
  download,
  internal,
  issuer,
  json,
  jwk,
  manifest,
  publicOrigin,
  secretKey,
  someObjects as objects,
  stubStorage,
  token,
  type Objects,
} from "../../../support/signed-url-api.ts";

const other = await generateKeyPair("ES256");

describe("the owner", () => {
  test("gets a URL of the public address that says what it is for, whose, and how long it holds", async () => {
    const response = await ask(await bench(), download("job-123"));
    expect(response.statusCode).toBe(200);
    const { url: text, ...rest } = json(response.body);
    expect(rest).toEqual({
      job_id: "job-123",
      head_url: expect.stringContaining(`${publicOrigin}/geocrop-results/jobs/job-123/result.tif?X-Amz-`),
      expires_at: "2026-11-24T10:20:00.000Z",
      size: 14,
      etag: '"e1"',
      content_type: "image/tiff",
      filename: "job-123.tif",
    });
    const url = new URL(String(text));
    expect(url.origin + url.pathname).toBe(`${publicOrigin}/geocrop-results/jobs/job-123/result.tif`);
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
      "X-Amz-Credential": "api-signer-1/20261124/us-east-1/s3/aws4_request",
      "X-Amz-Date": "20261124T100000Z",
      "X-Amz-Expires": "1200",
      "X-Amz-SignedHeaders": "host",
      "response-content-disposition": 'attachment; filename="job-123.tif"',
      "x-geocrop-subject": pseudonym(issuer, "alice"),
      "x-geocrop-issuance": expect.stringMatching(/^[\w-]{22}$/),
    });
  });

  test("gets no URL that names the user in clear", async () => {
    const stored: Objects = { ...objects, "jobs/job-9/job.json": manifest("job-9", "alice@example.org") };
    stored["jobs/job-9/result.tif"] = "x";
    const response = await ask(await bench({ stored }), download("job-9"), {
      as: "alice@example.org",
    });
    expect(response.statusCode).toBe(200);
    expect(decodeURIComponent(response.body)).not.toContain("example.org");
  });

  test("may ask by HEAD, which issues no URL", async () => {
    const api = await bench();
    const response = await ask(api, download("job-123"), { method: "HEAD" });
    expect(response.statusCode).toBe(200);
    expect(response.body).toBe("");
    expect(response.headers["content-type"]).toBe("application/json; charset=utf-8");
    expect(api.logs()).not.toContain("URL issued");
  });

  test.each(["running", "empty"])("learns that there is no result yet: %s", async (jobId) => {
    const response = await ask(await bench(), download(jobId));
    expect(response.statusCode).toBe(409);
    expect(response.headers["content-type"]).toMatch(/^application\/problem\+json\b/);
    expect(json(response.body)).toMatchObject({
      type: "urn:problem-type:geocrop:result-not-ready",
      status: 409,
    });
  });

  test("reads storage by young query-signed URLs of the internal address only", async () => {
    const api = await bench();
    await ask(api, download("job-123"));
    expect(api.asked.map((url) => url.pathname)).toEqual([
      "/geocrop-results/jobs/job-123/job.json",
      "/geocrop-results/jobs/job-123/result.tif",
    ]);
    for (const url of api.asked) {
      expect(url.origin).toBe(internal);
      expect(url.searchParams.get("X-Amz-Expires")).toBe("60");
    }
  });
});

test("who shares the job may download it", async () => {
  expect((await ask(await bench(), download("job-123"), { as: "carol" })).statusCode).toBe(200);
});

describe("one answer for every job that isn't one's own", () => {
  const unlike = [
    ["somebody else's", "job-123", "bob"],
    ["somebody else's without a result", "running", "bob"],
    ["a prefix of the owner's name", "job-123", "alic"],
    ["the owner's name in other letters", "job-123", "Alice"],
    ["without owner", "ownerless", "alice"],
    ["with an empty owner", "nobody", "alice"],
    ["of another job", "copied", "alice"],
    ["not JSON", "text", "alice"],
    ["not an object", "list", "alice"],
    ["not UTF-8", "latin1", "alice"],
    ["too long", "huge", "alice"],
    ["with shares that are no list", "shares", "alice"],
  ] as const;

  test.each(unlike)("manifest %s", async (_what, jobId, as) => {
    const api = await bench();
    const absent = await ask(api, download("no-such-job"), { as });
    const response = await ask(api, download(jobId), { as });
    expect(absent.statusCode).toBe(404);
    expect(response.rawPayload.equals(absent.rawPayload)).toBe(true);
    const comparable = ({ headers }: typeof absent) => ({ ...headers, "x-request-id": "", date: "" });
    expect(comparable(response)).toEqual(comparable(absent));
    expect(response.statusCode).toBe(404);
    // One read each: the time taken doesn't tell them apart either.
    expect(api.asked).toHaveLength(2);
  });
});

describe("storage that fails", () => {
  const failures: [string, HttpsSend][] = [
    ["can't be reached", () => Promise.reject(new Error("connect ECONNREFUSED"))],
    ["refuses the API's key", stubStorage({ "jobs/job-123/job.json": 403 })],
    ["breaks", stubStorage({ "jobs/job-123/job.json": 500 })],
    [
      "lost the bucket",
      () => Promise.resolve({ status: 404, headers: {}, body: Buffer.from("<Code>NoSuchBucket</Code>") }),
    ],
    [
      "redirects",
      () =>
        Promise.resolve({ status: 307, headers: { location: "https://evil.test" }, body: Buffer.alloc(0) }),
    ],
    ["fails for the result only", stubStorage({ ...objects, "jobs/job-123/result.tif": 503 })],
  ];
  test.each(failures)("%s: 503, for owner and stranger alike no more", async (_what, send) => {
    const api = await bench({ send });
    const response = await ask(api, download("job-123"));
    expect(response.statusCode).toBe(503);
    expect(response.headers["retry-after"]).toBe("5");
    expect(json(response.body)).toEqual({
      type: "urn:problem-type:geocrop:unavailable",
      title: "The service can't answer now",
      status: 503,
    });
    expect(api.logs()).toContain("StorageError");
  });
});

describe("tokens", () => {
  const refused: [string, () => Promise<string> | string][] = [
    ["is not a JWT", () => "abc"],
    [
      "has no signature (alg none)",
      () =>
        new UnsecuredJWT({ sub: "alice" })
          .setIssuer(issuer)
          .setAudience(audience)
          .setExpirationTime("1m")
          .encode(),
    ],
    [
      "is signed with the public key as a shared secret",
      () => token({ header: { alg: "HS256" }, key: new TextEncoder().encode(JSON.stringify(jwk)) }),
    ],
    ["is signed by somebody else", () => token({ key: other.privateKey })],
    [
      "brings its own key",
      async () => token({ key: other.privateKey, header: { jwk: await exportJWK(other.publicKey) } }),
    ],
    [
      "says where its key is",
      () => token({ key: other.privateKey, header: { jku: "https://evil.test/jwks", kid: "evil" } }),
    ],
    ["names an unknown key", () => token({ header: { kid: "../../k1" } })],
    ["is of another issuer", () => token({ claims: { iss: "https://evil.test" } })],
    ["has no issuer", () => token({ claims: { iss: undefined } })],
    ["is for another audience", () => token({ claims: { aud: "other-api" } })],
    ["has no audience", () => token({ claims: { aud: undefined } })],
    ["is an ID token by type", () => token({ header: { typ: "JWT" } })],
    ["has no type", () => token({ header: { typ: undefined } })],
    ["has expired", () => token({ claims: { exp: Math.floor(Date.now() / 1000) - 10 } })],
    ["never expires", () => token({ claims: { exp: undefined } })],
    ["is not valid yet", () => token({ claims: { nbf: Math.floor(Date.now() / 1000) + 60 } })],
    ["has no subject", () => token({ claims: { sub: undefined } })],
    ["has an empty subject", () => token({ claims: { sub: "" } })],
    ["has a number as subject", () => token({ claims: { sub: 7 } })],
    ["has a critical header nobody knows", () => token({ header: { crit: ["x"], x: 1 } })],
    [
      "was changed",
      async () => {
        const [header = "", , signature = ""] = (await token()).split(".");
        const claims = Buffer.from(JSON.stringify({ sub: "alice", iss: issuer, aud: audience, exp: 9e9 }));
        return [header, claims.toString("base64url"), signature].join(".");
      },
    ],
    ["is very long", () => "a".repeat(12_000)],
  ];

  test.each(refused)("one that %s opens nothing", async (_what, make) => {
    const api = await bench();
    const response = await ask(api, download("job-123"), { bearer: await make() });
    expect(response.statusCode).toBe(401);
    expect(response.headers["www-authenticate"]).toBe('Bearer realm="geocrop", error="invalid_token"');
    expect(json(response.body)).toMatchObject({ type: "urn:problem-type:geocrop:token-invalid" });
    expect(api.asked).toEqual([]);
  });

  test.each(["Basic YWxpY2U6eA==", "Bearer", "Bearer a b", "bearer\ta.b.c"])(
    "an Authorization header %j opens nothing",
    async (authorization) => {
      const { app, asked } = await bench();
      const response = await app.inject({ url: download("job-123"), headers: { authorization } });
      expect(response.statusCode).toBe(401);
      expect(asked).toEqual([]);
    },
  );

  test("none at all: the challenge names no error", async () => {
    const response = await ask(await bench(), download("job-123"), { bearer: "" });
    expect(response.statusCode).toBe(401);
    expect(response.headers["www-authenticate"]).toBe('Bearer realm="geocrop"');
  });

  test("with the long form of the type, and one audience of several, is good", async () => {
    const bearer = await token({
      header: { typ: "application/at+jwt" },
      claims: { aud: ["other-api", audience] },
    });
    expect((await ask(await bench(), download("job-123"), { bearer })).statusCode).toBe(200);
  });

  test("keys that can't be had are no fault of the token: 503", async () => {
    const api = await bench({ keys: () => Promise.reject(new TypeError("fetch failed")) });
    const response = await ask(api, download("job-123"));
    expect(response.statusCode).toBe(503);
    expect(api.asked).toEqual([]);
  });
});

describe("job ids", () => {
  test.each([
    "job%2d123",
    "..%2fjob-123",
    "job-123%2f..%2fother",
    "job-123%00",
    "%2e%2e",
    "a".repeat(65),
    "a".repeat(2000),
    "-job",
    "_job",
    ".job",
    "job.123",
    "j\u00f6b",
    "job\u0131",
    "job%20123",
    "job+123",
    "job-123%0a",
    "job:123",
    "job-123;x",
  ])("%j is refused before any I/O, with or without a token", async (jobId) => {
    for (const bearer of [undefined, ""]) {
      const api = await bench();
      const response = await ask(api, download(jobId), bearer === undefined ? {} : { bearer });
      // What inject (or any client) resolves, like %2e%2e, is another path by the time it is sent.
      expect([400, 404]).toContain(response.statusCode);
      expect(response.headers["content-type"]).toMatch(/^application\/problem\+json\b/);
      expect(json(response.body)["type"]).toMatch(/:(invalid-job-id|route-not-found)$/);
      expect(api.asked).toEqual([]);
    }
  });

  test("a path that can't be decoded is a plain 400 with the same headers", async () => {
    const response = await ask(await bench(), download("%zz"));
    expect(response.statusCode).toBe(400);
    expect(json(response.body)).toMatchObject({ type: "urn:problem-type:geocrop:invalid-request" });
    expect(response.headers["cache-control"]).toBe("no-store");
  });

  test.each(["a", "A".repeat(64), "0-_", "job-123"])("%j is an id", async (jobId) => {
    expect((await ask(await bench(), download(jobId), { as: "nobody" })).statusCode).toBe(404);
  });
});

test("an id is taken from the download paths only, whatever the router lets through", () => {
  expect(isDownloadTarget("/api/v1/results/job-123/download?x=/api")).toBe(true);
  expect(isDownloadTarget("/api/v1/results/job-123/result.tif")).toBe(true);
  for (const target of [
    "/api/v1/results/a/download/",
    "/api/v1/results/a/downloads",
    "/api/v1/results/a/resultxtif",
    "x/api/v1/results/a/download",
    "/api/v1/results/a",
    "",
  ])
    expect(isDownloadTarget(target)).toBe(false);
});

test("a job with an empty owner is nobody's, not even a nameless user's", () => {
  expect(readManifest("nobody", Buffer.from(manifest("nobody", "")))).toBeUndefined();
  expect(mayRead({ job_id: "a", owner: "alice" }, { subject: "", admin: false })).toBe(false);
});

describe("expires_in", () => {
  test.each([
    [900, 1200],
    [901, 1201],
    [3300, 3600],
    [3500, 3600],
    [3600, 3600],
  ])("%d gets a URL of %d seconds, by the window's begin, and says when it ends", async (asked, signed) => {
    const body = json((await ask(await bench(), download("job-123", `?expires_in=${asked}`))).body);
    const { searchParams } = new URL(String(body["url"]));
    expect(searchParams.get("X-Amz-Expires")).toBe(String(signed));
    expect(body["expires_at"]).toBe(
      new Date(Date.parse("2026-11-24T10:00:00Z") + signed * 1000).toISOString(),
    );
  });

  test.each([
    "899",
    "3601",
    "0",
    "-900",
    "900.5",
    "",
    "x",
    "1e9",
    "NaN",
    "Infinity",
    "1e400",
    "900&expires_in=3600",
    "604800",
  ])("%j is refused, and the bounds are named", async (value) => {
    const api = await bench();
    const response = await ask(api, download("job-123", `?expires_in=${value}`));
    expect(response.statusCode).toBe(400);
    expect(json(response.body)["detail"]).toContain("from 900 to 3600");
    expect(api.asked).toEqual([]);
  });
});

test("every answer is kept out of caches, referrers and sniffing, and has its own id", async () => {
  const api = await bench();
  const answers = [
    await ask(api, download("job-123")),
    await ask(api, download("job-123"), { as: "bob" }),
    await ask(api, download("job-123"), { bearer: "" }),
    await ask(api, download("..%2f")),
    await ask(api, "/"),
    await ask(api, download("job-123"), { method: "POST" }),
    await ask(api, "/healthz"),
  ];
  expect(answers.map((answer) => answer.statusCode)).toEqual([200, 404, 401, 400, 404, 404, 200]);
  for (const { headers } of answers) {
    expect(headers).toMatchObject({
      "cache-control": "no-store",
      "referrer-policy": "no-referrer",
      "x-content-type-options": "nosniff",
    });
  }
  expect(new Set(answers.map(({ headers }) => headers["x-request-id"])).size).toBe(answers.length);
});

test("a request id of the caller's is not taken over", async () => {
  const { app, logs } = await bench();
  const response = await app.inject({
    url: "/nowhere",
    headers: { "x-request-id": "forged", "request-id": "forged" },
  });
  expect(response.headers["x-request-id"]).not.toBe("forged");
  expect(logs()).not.toContain("forged");
});

test("the log says who was given which URL and who was refused, and holds no credential", async () => {
  const api = await bench();
  const bearer = await token();
  const bad = await token({ key: other.privateKey });
  const issued = await ask(api, download("job-123", "?expires_in=900&secret=query-secret"), { bearer });
  await ask(api, download("job-123"), { as: "bob" });
  await ask(api, download("job-123"), { bearer: bad });
  await ask(api, download("%zz", "?secret=query-secret"), { bearer });
  await ask(api, "/nowhere?secret=query-secret", { bearer });
  await ask(await bench({ send: () => Promise.reject(new Error("down")) }), download("job-123"), {
    bearer,
  });
  const url = new URL(String(json(issued.body)["url"]));
  const logs = api.logs();

  const lines = logs.trim().split("\n").map(json);
  expect(lines).toContainEqual(
    expect.objectContaining({
      msg: "URL issued",
      reqId: issued.headers["x-request-id"],
      jobId: "job-123",
      subject: "alice",
      "x-geocrop-issuance": url.searchParams.get("x-geocrop-issuance"),
    }),
  );
  expect(lines).toContainEqual(
    expect.objectContaining({ msg: "no URL issued", jobId: "job-123", subject: "bob", why: "job-not-found" }),
  );
  for (const secret of [
    ...[bearer, bad].flatMap((jwt) => jwt.split(".").slice(1)),
    url.searchParams.get("X-Amz-Signature") ?? "no signature",
    ...api.asked.map((own) => own.searchParams.get("X-Amz-Signature") ?? "no signature"),
    secretKey,
    "query-secret",
    "X-Amz-",
  ]) {
    expect(logs).not.toContain(secret);
  }
});

test("an issued URL has one log line, and every other answer one of its own", async () => {
  const api = await bench();
  const messages = (): unknown[] =>
    api
      .logs()
      .trim()
      .split("\n")
      .map((line) => json(line)["msg"]);
  await ask(api, download("job-123"));
  expect(messages()).toEqual(["URL issued"]);
  await ask(api, download("job-123"), { method: "HEAD" });
  expect(messages()).toEqual(["URL issued", "answered"]);
  await ask(api, download("job-123"), { as: "bob" });
  expect(messages().slice(2)).toEqual(["no URL issued", "No such job", "answered"]);
});

describe("probes", () => {
  test("say alive and ready, and ask nobody", async () => {
    const api = await bench();
    expect((await ask(api, "/healthz")).statusCode).toBe(200);
    expect((await ask(api, "/readyz")).statusCode).toBe(200);
    expect(api.asked).toEqual([]);
    expect(api.logs()).toBe("");
  });

  test("while stopping: alive, not ready, still serving, connections closed", async () => {
    const api = await bench({ ready: () => false });
    expect((await ask(api, "/healthz")).statusCode).toBe(200);
    expect((await ask(api, "/readyz")).statusCode).toBe(503);
    const response = await ask(api, download("job-123"));
    expect(response.statusCode).toBe(200);
    expect(response.headers["connection"]).toBe("close");
  });
});
