// The helpers below expect on behalf of the tests.
// oxlint-disable vitest/expect-expect, vitest/no-conditional-expect, vitest/no-standalone-expect
import * as fc from "fast-check";
import type { InjectOptions } from "fastify";
import { exportJWK, generateKeyPair, type CryptoKey } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import {
  audience,
  bench,
  issuer,
  jwk,
  manifest,
  publicOrigin,
  secretKey,
  someObjects,
  token,
  type Bench,
  type Objects,
  type TokenParts,
} from "../../../support/signed-url-api.ts";

/**
 * Thousands of made-up requests. Whatever comes in, an answer is one of the few that there are, nothing of the inside
 * is in it or in the log, storage is asked for job objects only, and a URL is issued only where a plain reading of the
 * rules, kept apart from the API's own, says so.
 */
const mine = ["job-123", "a", "A1_-", "x".repeat(64)];
const stored: Objects = Object.fromEntries(
  Object.entries(someObjects).filter(([, content]) => typeof content !== "number"),
);
for (const jobId of mine) {
  stored[`jobs/${jobId}/job.json`] = manifest(jobId, "alice");
  stored[`jobs/${jobId}/result.tif`] = "II*";
}

let api: Bench;
let good: string;
let runs = 0;
const sent: string[] = [];

beforeAll(async () => {
  api = await bench({ stored });
  good = await token();
});
afterAll(() => expect(runs).toBeGreaterThanOrEqual(5000));

const known = new Set([200, 302, 400, 401, 404, 409, 413, 415]);

/** Sends one request, and holds its answer to what must be true of all of them. @returns the URLs issued */
async function probe(options: InjectOptions): Promise<URL[]> {
  runs += 1;
  const before = api.asked.length;
  const { statusCode, headers, body } = await api.app.inject(options);
  expect(known, `${statusCode} ${body}`).toContain(statusCode);
  expect(headers).toMatchObject({ "cache-control": "no-store", "x-content-type-options": "nosniff" });
  for (const inner of [secretKey, "minio.test", "node:internal", "/services/"]) {
    expect(body).not.toContain(inner);
  }
  // Longer than an issuance id, which may begin like a token by chance.
  expect(body).not.toMatch(/eyJ[\w-]{20}/);
  for (const { pathname } of api.asked.slice(before)) {
    expect(pathname).toMatch(/^\/geocrop-results\/jobs\/[A-Za-z0-9][\w-]{0,63}\/(job\.json|result\.tif)$/);
  }
  if (statusCode >= 400) {
    expect(headers["content-type"]).toMatch(/^application\/problem\+json/);
    expect(Object.keys(JSON.parse(body))).toEqual(expect.arrayContaining(["type", "title", "status"]));
  }
  const urls = (body.match(/"url":"([^"]+)"/g) ?? []).map((text) => text.slice(7, -1));
  if (statusCode === 302) urls.push(String(headers.location));
  return urls.map((url) => new URL(url));
}

/** A URL must be of exactly this job, at the gateway, for 15 to 60 minutes. */
function expectIssued(urls: readonly URL[], jobIds: readonly string[]): void {
  expect(urls.map(({ origin, pathname }) => origin + pathname)).toEqual(
    jobIds.map((jobId) => `${publicOrigin}/geocrop-results/jobs/${jobId}/result.tif`),
  );
  for (const { searchParams } of urls) {
    const life = Number(searchParams.get("X-Amz-Expires"));
    expect(life).toBeGreaterThanOrEqual(900);
    expect(life).toBeLessThanOrEqual(3600);
  }
}

const authorized = (more = {}) => ({ authorization: `Bearer ${good}`, ...more });

const nasty = fc.constantFrom(
  "..",
  ".",
  "%2e%2e",
  "%2E%2E%2f",
  "..%2f",
  "%2f",
  "%5c",
  "\\",
  "%00",
  "\0",
  "%",
  "%zz",
  "%u0041",
  "/",
  "//",
  ";",
  "?",
  "#",
  "%3f",
  "%23",
  "%25",
  "%252e",
  "%252f",
  " ",
  "%20",
  "+",
  "\t",
  "%0d%0aX: y",
  "\u00E9",
  "\u0131",
  "\u202E",
  "\uFF0F",
  "%C0%AF",
  "*",
  "$",
  "'",
  '"',
  "<",
  "a".repeat(65),
  "a".repeat(5000),
  "~",
  ":",
  "@",
  "{job_id}",
  "job.json",
  "-",
  "_",
);
const pieces = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...mine, "job", "123", "A") },
  { weight: 3, arbitrary: nasty },
  { weight: 2, arbitrary: fc.string({ unit: "binary", maxLength: 20 }) },
  { weight: 1, arbitrary: fc.webFragments({ size: "small" }) },
);
const jobIds = fc.oneof(
  fc.constantFrom(...mine),
  fc.array(pieces, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("")),
);

test("ids", async () => {
  await fc.assert(
    fc.asyncProperty(
      jobIds,
      fc.constantFrom("download", "result.tif"),
      fc.boolean(),
      async (jobId, end, signedIn) => {
        const path = `/api/v1/results/${jobId}/${end}`;
        const urls = await probe({
          ...rawTarget(path),
          headers: signedIn ? authorized() : {},
        });
        const [literal = ""] = path.split(/[?#]/);
        const named = mine.find((id) => literal === `/api/v1/results/${id}/${end}`);
        // Dots that the client resolves before it sends make another path of it.
        const resolved = new URL(`http://x${toAscii(path)}`).pathname;
        const other = mine.find((id) =>
          ["download", "result.tif"].some((tail) => resolved === `/api/v1/results/${id}/${tail}`),
        );
        const expected = signedIn ? (named ?? other) : undefined;
        expectIssued(urls, expected === undefined ? [] : [expected]);
      },
    ),
    { numRuns: 2000 },
  );
});

const toAscii = (path: string): string => encodeURI(path.toWellFormed()).replaceAll("%25", "%");
const rawTarget = (path: string): { url: string } => ({ url: toAscii(path) });

const seconds = (): number => Math.floor(Date.now() / 1000);
const junk = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.integer(),
  fc.double(),
  fc.boolean(),
  fc.constant(null),
  fc.array(fc.string({ maxLength: 5 }), { maxLength: 3 }),
  fc.object({ maxDepth: 1 }),
  fc.constant(undefined),
);

describe("tokens", () => {
  let stranger: CryptoKey;
  let strangersJwk: object;
  beforeAll(async () => {
    const pair = await generateKeyPair("ES256", { extractable: true });
    stranger = pair.privateKey;
    strangersJwk = await exportJWK(pair.publicKey);
  });

  const expectRefused = async (authorization: string): Promise<void> => {
    sent.push(authorization);
    const before = api.asked.length;
    expect(await probe({ url: "/api/v1/results/job-123/download", headers: { authorization } })).toEqual([]);
    expect(api.asked).toHaveLength(before);
  };

  test("whose claims are wrong", async () => {
    const wrong = fc.oneof(
      fc.record({ iss: junk }),
      fc.record({ aud: junk }),
      fc.record({
        sub: fc.oneof(
          fc.constant(""),
          fc.integer(),
          fc.constant(null),
          fc.constant(["alice"]),
          fc.constant(undefined),
        ),
      }),
      fc.record({
        exp: fc.oneof(
          fc.integer({ max: 1_700_000_000 }),
          fc.string(),
          fc.constant(null),
          fc.constant(undefined),
        ),
      }),
      fc.integer({ min: 6, max: 1e9 }).map((late) => ({ exp: seconds() - late })),
      fc.integer({ min: 30, max: 1e9 }).map((early) => ({ nbf: seconds() + early })),
      fc.record({ nbf: fc.oneof(fc.string(), fc.constant(null), fc.constant([0])) }),
    );
    await fc.assert(
      fc.asyncProperty(wrong, async (claims) => expectRefused(`Bearer ${await token({ claims })}`)),
      { numRuns: 700 },
    );
  });

  test("whose header plays tricks", async () => {
    const tricks = fc.oneof(
      fc.record({
        kid: fc.oneof(nasty, fc.constantFrom("k2", "K1", "../k1", "k1' or '1'='1", ""), fc.string()),
      }),
      fc.record({
        typ: fc.oneof(fc.constantFrom("JWT", "at+jwt2", "id_token", "AT JWT", "logout+jwt", ""), fc.string()),
      }),
      fc.record({ crit: fc.constant(["x"]), x: fc.string() }),
      fc.record({ jku: fc.webUrl(), kid: fc.constant("other") }),
      fc.record({ x5u: fc.webUrl(), kid: fc.constant("other") }),
      fc.constant({ b64: false, crit: ["b64"] }),
    );
    await fc.assert(
      fc.asyncProperty(tricks, async (header: Record<string, unknown>) => {
        fc.pre(header["kid"] !== "k1" && !/^(application\/)?at\+jwt$/i.test(String(header["typ"])));
        const parts: TokenParts = { header };
        const bearer = await token(parts).catch(() => undefined);
        fc.pre(bearer !== undefined);
        await expectRefused(`Bearer ${bearer}`);
      }),
      { numRuns: 500 },
    );
  });

  test("that somebody else signed, whatever they claim and whatever key they bring", async () => {
    const brought = fc.constantFrom(
      {},
      { jwk: strangersJwk },
      { kid: "k1", jwk: strangersJwk },
      { kid: "evil", jku: "https://evil.test/jwks" },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.record({ sub: fc.constantFrom("alice", "root") }),
        brought,
        async (claims, header) => expectRefused(`Bearer ${await token({ key: stranger, claims, header })}`),
      ),
      { numRuns: 200 },
    );
  });

  test("with another algorithm over the public key, or none", async () => {
    const publicTexts = [
      JSON.stringify(jwk),
      String(jwk.x),
      Buffer.from(String(jwk.x), "base64url").toString("latin1"),
      "",
    ];
    const { createHmac } = await import("node:crypto");
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(
          "none",
          "None",
          "NONE",
          "nOnE",
          "HS256",
          "HS384",
          "HS512",
          "RS256",
          "ES384",
          "ES256K",
          "EdDSA",
          "dir",
          "PBES2-HS256+A128KW",
        ),
        fc.constantFrom(...publicTexts),
        fc.boolean(),
        async (alg, secret, empty) => {
          const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
          const claims = { iss: issuer, aud: audience, sub: "alice", exp: seconds() + 600 };
          const signed = `${encode({ alg, typ: "at+jwt", kid: "k1" })}.${encode(claims)}`;
          const signature = empty ? "" : createHmac("sha256", secret).update(signed).digest("base64url");
          await expectRefused(`Bearer ${signed}.${signature}`);
        },
      ),
      { numRuns: 200 },
    );
  });

  test("that are changed anywhere", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.constantFrom(..."AZaz09-_.=~".split("")), async (at, character) => {
        const index = at % good.length;
        // The last character of 86 holds four bits that mean nothing.
        fc.pre(good[index] !== character && index < good.length - 1);
        await expectRefused(`Bearer ${good.slice(0, index)}${character}${good.slice(index + 1)}`);
      }),
      { numRuns: 500 },
    );
  });

  test("that are no tokens", async () => {
    const text = fc.oneof(
      fc.string({ maxLength: 200 }),
      fc.constantFrom(
        "",
        "Bearer",
        "Basic YTpi",
        "Bearer  ",
        "Bearer a.b.c",
        "bearer null",
        `Bearer ${"a.".repeat(4000)}`,
        `Bearer ${"a".repeat(9000)}`,
      ),
      fc.string().map((end) => `Bearer ${good} ${end}x`),
      fc.constant(`Token x`),
    );
    await fc.assert(fc.asyncProperty(text, expectRefused), { numRuns: 300 });
  });

  test("with a claim twice: the last one counts, as RFC 7519 allows, and the issuer signed both", async () => {
    const claims = (sub: string): string =>
      `{"iss":"${issuer}","aud":"${audience}","exp":${seconds() + 600},${sub}}`;
    const bob = await token({ text: claims('"sub":"alice","sub":"bob"') });
    await expect(
      probe({ url: "/api/v1/results/job-123/download", headers: { authorization: `Bearer ${bob}` } }),
    ).resolves.toEqual([]);
    const none = await token({ text: claims('"sub":"alice","sub":""') });
    await expectRefused(`Bearer ${none}`);
  });
});

test("queries", async () => {
  const value = fc.oneof(
    fc.integer().map(String),
    fc.integer({ min: 850, max: 3650 }).map(String),
    fc.double().map(String),
    fc.string({ unit: "binary" }),
    nasty,
  );
  const name = fc.oneof(
    fc.constantFrom(
      "expires_in",
      "redirect",
      "filename",
      "X-Amz-Expires",
      "bucket",
      "versionId",
      "__proto__",
      "constructor",
    ),
    fc.string(),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(name, value), { maxLength: 4 }), async (pairs) => {
      const query = pairs
        .map((pair) => pair.map((text) => encodeURIComponent(text.toWellFormed())).join("="))
        .join("&");
      const of = (wanted: string) =>
        pairs.filter(([key]) => key === wanted).map(([, text]) => text.toWellFormed());
      const [lives, redirects, names] = [of("expires_in"), of("redirect"), of("filename")];
      const right =
        lives.every((text) => /^[0-9]{3,6}$/.test(text) && Number(text) >= 900 && Number(text) <= 3600) &&
        redirects.every((text) => text === "true" || text === "false") &&
        names.every((text) => text.length >= 1 && text.length <= 255) &&
        [lives, redirects, names].every((given) => given.length <= 1);
      const urls = await probe({ url: `/api/v1/results/job-123/download?${query}`, headers: authorized() });
      expectIssued(urls, right ? ["job-123"] : []);
      for (const { searchParams } of urls) {
        expect([...searchParams.keys()]).toEqual([
          "X-Amz-Algorithm",
          "X-Amz-Credential",
          "X-Amz-Date",
          "X-Amz-Expires",
          "X-Amz-SignedHeaders",
          "response-content-disposition",
          "x-geocrop-issuance",
          "x-geocrop-subject",
          "X-Amz-Signature",
        ]);
        expect(searchParams.get("response-content-disposition")).toMatch(
          /^attachment; filename="[^"\\\p{C}]*"/u,
        );
      }
    }),
    { numRuns: 800 },
  );
});

test("headers", async () => {
  const name = fc.constantFrom(
    "accept",
    "origin",
    "host",
    "range",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-http-method-override",
    "x-original-url",
    "x-rewrite-url",
    "cookie",
    "content-length",
    "content-type",
    "if-none-match",
    "x-request-id",
    "expect",
    "te",
    "forwarded",
  );
  const text = fc.oneof(
    fc.string({ maxLength: 60 }),
    fc.constantFrom(
      "evil.test",
      "https://map.test",
      "https://evil.test",
      "*/*;q=0",
      "application/json",
      "a,".repeat(2000),
      "bytes=0-",
      "DELETE",
    ),
  );
  await fc.assert(
    fc.asyncProperty(fc.dictionary(name, text, { maxKeys: 4 }), async (headers) => {
      const urls = await probe({ url: "/api/v1/results/job-123/download", headers: authorized(headers) });
      expectIssued(urls, ["job-123"]);
    }),
    { numRuns: 400 },
  );
});

test("bodies", async () => {
  const ids = fc.array(
    fc.oneof(
      fc.constantFrom(...mine, "none", "running"),
      jobIds.map((id) => id.slice(0, 300)),
    ),
    { maxLength: 105 },
  );
  const body = fc.oneof(
    { weight: 3, arbitrary: fc.record({ job_ids: ids }) },
    { weight: 1, arbitrary: fc.record({ job_ids: ids, expires_in: fc.oneof(fc.integer(), junk) }) },
    { weight: 1, arbitrary: fc.object() },
    { weight: 1, arbitrary: fc.jsonValue() },
  );
  await fc.assert(
    fc.asyncProperty(body, async (value: unknown) => {
      const payload = JSON.stringify(value);
      const urls = await probe({
        method: "POST",
        url: "/api/v1/results/download",
        headers: authorized({ "content-type": "application/json" }),
        payload,
      });
      const { job_ids: asked = [] }: { job_ids?: unknown[] } = Object(JSON.parse(payload || "null"));
      const own = Array.isArray(asked) ? mine.filter((id) => asked.includes(id)) : [];
      // All of them or, where the body as a whole is wrong, none.
      const named = urls.map(({ pathname }) => pathname.split("/")[3] ?? "");
      expectIssued(urls, named);
      expect([[], own.toSorted()]).toContainEqual([...new Set(named)].toSorted());
    }),
    { numRuns: 500 },
  );
});

test("nothing secret of all this is in the log", () => {
  const logs = api.logs();
  expect(logs.length).toBeGreaterThan(100_000);
  for (const secret of [secretKey, good, "X-Amz-Signature", "Signature="]) expect(logs).not.toContain(secret);
  for (const authorization of sent.filter((text) => text.length > 60)) {
    expect(logs).not.toContain(authorization.slice(7));
  }
  expect(logs).not.toMatch(/eyJ[\w-]{20}/);
});
