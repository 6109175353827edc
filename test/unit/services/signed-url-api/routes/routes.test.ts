import { describe, expect, onTestFinished, test, vi } from "vitest";

import { acceptsJson } from "../../../../../services/signed-url-api/routes/accept.ts";
import { docsPolicy } from "../../../../../services/signed-url-api/routes/docs-page.ts";
import { windowOf } from "../../../../../services/signed-url-api/signing/downloads.ts";
import { attachment, safeFilename } from "../../../../../services/signed-url-api/signing/filename.ts";
import { createMetrics } from "../../../../../services/signed-url-api/metrics.ts";
import { createRateLimit } from "../../../../../services/signed-url-api/auth/rate-limit.ts";
import {
  ask,
  bench,
  download,
  json,
  manifest,
  publicOrigin,
  someObjects,
  token,
} from "../../../../support/signed-url-api.ts";

const batch = "/api/v1/results/download";
const tif = "/api/v1/results/job-123/result.tif";
const urlOf = (body: string): string => String(json(body)["url"]);

describe("the redirect", () => {
  test.each([
    ["redirect=true", download("job-123", "?redirect=true"), undefined],
    ["an Accept without JSON", download("job-123"), "image/tiff, image/*;q=0.8"],
    ["an Accept that refuses JSON", download("job-123"), "*/*, application/json;q=0"],
    ["the address that ends in .tif", tif, undefined],
    ["that address, whatever it accepts", tif, "application/json"],
  ])("is the answer to %s, by GET and by HEAD", async (_what, asked, accept) => {
    const api = await bench();
    const { url, head_url: headUrl } = json((await ask(api, download("job-123"))).body);
    for (const [method, location] of [
      ["GET", url],
      ["HEAD", headUrl],
    ] as const) {
      const headers = accept === undefined ? {} : { accept };
      const { statusCode, headers: answered, body } = await ask(api, asked, { method, headers });
      expect([statusCode, answered["location"], body]).toEqual([302, location, ""]);
      expect(answered).toMatchObject({ "cache-control": "no-store", "referrer-policy": "no-referrer" });
    }
    // A redirect hands out a URL by either method.
    expect(api.logs().match(/"URL issued"/g)).toHaveLength(3);
  });

  test.each([undefined, "*/*", "application/json", "application/*", "text/html, */*;q=0.1", ""])(
    "is not the answer where Accept is %j, nor where redirect=false",
    async (accept) => {
      const api = await bench();
      const headers = accept === undefined ? {} : { accept };
      expect((await ask(api, download("job-123"), { headers })).statusCode).toBe(200);
      const refuses = { headers: { accept: "image/tiff" } };
      expect((await ask(api, download("job-123", "?redirect=false"), refuses)).statusCode).toBe(200);
    },
  );

  test.each(["1", "TRUE", "", "yes", "true&redirect=true"])(
    "takes true and false only: %j",
    async (value) => {
      const { statusCode, body } = await ask(await bench(), download("job-123", `?redirect=${value}`));
      expect([statusCode, json(body)["detail"]]).toEqual([400, "redirect must be true or false."]);
    },
  );

  test("goes nowhere for who may not", async () => {
    const api = await bench();
    for (const url of [tif, download("job-123", "?redirect=true")]) {
      expect((await ask(api, url, { as: "bob" })).statusCode).toBe(404);
      expect((await ask(api, url, { bearer: "" })).statusCode).toBe(401);
    }
  });
});

test("an Accept header is read by its most specific range", () => {
  expect(acceptsJson("application/json;q=0, */*")).toBe(false);
  expect(acceptsJson("application/*;q=0, */*;q=1")).toBe(false);
  expect(acceptsJson("APPLICATION/JSON ; Q=0.001")).toBe(true);
  expect(acceptsJson("application/geo+json")).toBe(false);
});

describe("a URL asked for again", () => {
  test("is the same within its window, another after it, and lives at least as long as asked", async () => {
    const api = await bench();
    const first = json((await ask(api, download("job-123"))).body);
    api.later(298_000);
    const second = json((await ask(api, download("job-123"))).body);
    expect(second).toEqual(first);
    api.later(2000);
    const third = json((await ask(api, download("job-123"))).body);
    expect(third["url"]).not.toBe(first["url"]);
    expect(third["expires_at"]).toBe("2026-11-24T10:25:00.000Z");
  });

  test("is the same from another replica, and differs by user, file name and life", async () => {
    const [one, two] = [await bench(), await bench()];
    const plain = urlOf((await ask(one, download("job-123"))).body);
    expect(urlOf((await ask(two, download("job-123"))).body)).toBe(plain);
    const others = await Promise.all([
      ask(one, download("job-123"), { as: "carol" }),
      ask(one, download("job-123", "?filename=a.tif")),
      ask(one, download("job-123", "?expires_in=1000")),
    ]);
    const ids = others.map(({ body }) => new URL(urlOf(body)).searchParams.get("x-geocrop-issuance"));
    expect(new Set([...ids, new URL(plain).searchParams.get("x-geocrop-issuance")]).size).toBe(4);
  });

  test("never outlives an hour from its signing, and never less than it was asked for", () => {
    for (let asked = 900; asked <= 3600; asked += 1) {
      for (const now of [0, 1, 299, 300, 1234, 86_399]) {
        const { start, expiresIn, end } = windowOf(now * 1000 + 999, asked);
        expect(start).toBeLessThanOrEqual(now);
        expect(end).toBeGreaterThan(now);
        expect(expiresIn).toBeLessThanOrEqual(3600);
        // The last one to get it, in the window's last second.
        expect(start + expiresIn - (end - 1)).toBeGreaterThanOrEqual(asked);
      }
    }
  });
});

describe("what is remembered", () => {
  const stored = () => ({ ...someObjects });

  test("lets a second question be answered without storage", async () => {
    const api = await bench();
    await ask(api, download("job-123"));
    await ask(api, download("job-123"));
    expect(api.asked).toHaveLength(2);
  });

  test("is no longer believed after 30 seconds: a share taken back, another owner, a deleted job", async () => {
    for (const change of [manifest("job-123", "alice"), manifest("job-123", "dora"), undefined]) {
      const objects = stored();
      const api = await bench({ stored: objects });
      expect((await ask(api, download("job-123"), { as: "carol" })).statusCode).toBe(200);
      if (change === undefined) delete objects["jobs/job-123/job.json"];
      else objects["jobs/job-123/job.json"] = change;
      api.later(29_999);
      expect((await ask(api, download("job-123"), { as: "carol" })).statusCode).toBe(200);
      api.later(1);
      expect((await ask(api, download("job-123"), { as: "carol" })).statusCode).toBe(404);
    }
  });

  test("never says no: a new share is honoured at once", async () => {
    const objects = stored();
    const api = await bench({ stored: objects });
    await ask(api, download("job-123"));
    expect((await ask(api, download("job-123"), { as: "dora" })).statusCode).toBe(404);
    objects["jobs/job-123/job.json"] = manifest("job-123", "alice", ["dora"]);
    expect((await ask(api, download("job-123"), { as: "dora" })).statusCode).toBe(200);
  });

  test("does not tell a stranger that the job was just used: a refusal is read each time", async () => {
    const api = await bench();
    await ask(api, download("job-123"));
    const before = api.asked.length;
    for (const jobId of ["job-123", "no-such-job", "job-123", "no-such-job"]) {
      expect((await ask(api, download(jobId), { as: "bob" })).statusCode).toBe(404);
    }
    expect(api.asked.length - before).toBe(4);
  });

  test("of a token ends with the token, and after 30 seconds at the latest", async () => {
    let keysAsked = 0;
    const { createLocalJWKSet } = await import("jose");
    const { jwk } = await import("../../../../support/signed-url-api.ts");
    const local = createLocalJWKSet({ keys: [jwk] });
    const api = await bench({ keys: (header, jws) => ((keysAsked += 1), local(header, jws)) });
    const seconds = Math.floor(Date.now() / 1000);
    const short = await token({ claims: { exp: seconds + 10 } });
    const long = await token({ claims: { exp: seconds + 600 } });
    for (const bearer of [short, long, short, long]) {
      expect((await ask(api, download("job-123"), { bearer })).statusCode).toBe(200);
    }
    expect(keysAsked).toBe(2);
    // 10 seconds of life and 5 of tolerance.
    api.later(16_000);
    expect((await ask(api, download("job-123"), { bearer: short })).statusCode).toBe(401);
    expect((await ask(api, download("job-123"), { bearer: long })).statusCode).toBe(200);
    expect(keysAsked).toBe(3);
    api.later(14_000);
    expect((await ask(api, download("job-123"), { bearer: long })).statusCode).toBe(200);
    expect(keysAsked).toBe(4);
  });
});

describe("an administrator", () => {
  const admin = { claim: "roles", value: "geocrop-admin" };
  const asAdmin = (roles: unknown) => token({ claims: { sub: "root", roles } });

  test("reads every job, and the log says so", async () => {
    const api = await bench({ admin });
    for (const roles of ["geocrop-admin", ["user", "geocrop-admin"]]) {
      const { statusCode } = await ask(api, download("job-123"), { bearer: await asAdmin(roles) });
      expect(statusCode).toBe(200);
    }
    expect(api.logs()).toMatch(/"subject":"root","admin":true/);
    const bearer = await asAdmin("geocrop-admin");
    expect((await ask(api, download("copied"), { bearer })).statusCode).toBe(404);
  });

  test.each(["geocrop", "geocrop-admin ", ["user"], { "geocrop-admin": true }, true, undefined])(
    "is nobody whose claim is %j",
    async (roles) => {
      const { statusCode } = await ask(await bench({ admin }), download("job-123"), {
        bearer: await asAdmin(roles),
      });
      expect(statusCode).toBe(404);
    },
  );

  test("does not exist unless configured", async () => {
    const { statusCode } = await ask(await bench(), download("job-123"), {
      bearer: await asAdmin("geocrop-admin"),
    });
    expect(statusCode).toBe(404);
  });
});

describe("a batch", () => {
  const post = (payload: unknown) => ({
    method: "POST" as const,
    payload: JSON.stringify(payload),
    headers: { "content-type": "application/json" },
  });
  const results = (body: string): Record<string, unknown>[] => {
    const { results } = JSON.parse(body);
    return results;
  };

  test("answers each job by itself, in order", async () => {
    const ids = ["running", "job-123", "no-such-job", "../job-123", "", "broken", "job-123"];
    const api = await bench();
    const { statusCode, body } = await ask(api, batch, post({ job_ids: ids, expires_in: 1000 }));
    expect(statusCode).toBe(200);
    expect(results(body).map(({ job_id: jobId }) => jobId)).toEqual(ids);
    const problem = (slug: string, status: number) => ({
      problem: expect.objectContaining({ type: `urn:problem-type:geocrop:${slug}`, status }),
    });
    expect(results(body)).toMatchObject([
      problem("result-not-ready", 409),
      { download: { job_id: "job-123", filename: "job-123.tif", expires_at: "2026-11-24T10:21:40.000Z" } },
      problem("job-not-found", 404),
      problem("invalid-job-id", 400),
      problem("invalid-job-id", 400),
      problem("unavailable", 503),
      { download: { size: 14 } },
    ]);
    expect(api.logs().match(/"URL issued"/g)).toHaveLength(2);
  });

  test("says of absent jobs what it says of others'", async () => {
    const { body } = await ask(await bench(), batch, {
      ...post({ job_ids: ["job-123", "none"] }),
      as: "bob",
    });
    const [others, absent] = results(body);
    expect(others?.["problem"]).toEqual(absent?.["problem"]);
  });

  test.each([
    ["101 jobs", { job_ids: Array.from({ length: 101 }, () => "a") }],
    ["no job", { job_ids: [] }],
    ["no list", { job_ids: "job-123" }],
    ["numbers", { job_ids: [1, 2] }],
    ["an overlong id", { job_ids: ["a".repeat(257)] }],
    ["another field", { job_ids: ["a"], bucket: "geocrop-models" }],
    ["a life as text", { job_ids: ["a"], expires_in: "900" }],
    ["a life out of bounds", { job_ids: ["a"], expires_in: 899 }],
    ["a list", ["job-123"]],
    ["null", null],
  ])("of %s is refused as a whole, before any I/O", async (_what, payload) => {
    const api = await bench();
    const { statusCode, body } = await ask(api, batch, post(payload));
    expect([statusCode, json(body)["type"]]).toEqual([400, "urn:problem-type:geocrop:invalid-request"]);
    expect(api.asked).toEqual([]);
  });

  test.each([
    ["no JSON", 400, "{", "application/json"],
    ["a form", 415, "job_ids=a", "application/x-www-form-urlencoded"],
    ["a long body", 413, JSON.stringify({ job_ids: ["a".repeat(40_000)] }), "application/json"],
    ["a poisoned prototype", 400, '{"__proto__":{"job_ids":["a"]},"job_ids":["a"]}', "application/json"],
  ])("that is %s gets %d", async (_what, status, payload, type) => {
    const { statusCode, headers } = await ask(await bench(), batch, {
      method: "POST",
      payload,
      headers: { "content-type": type },
    });
    expect(statusCode).toBe(status);
    expect(headers["content-type"]).toMatch(/^application\/problem\+json/);
  });

  test("of a stranger is not even read", async () => {
    const { statusCode } = await ask(await bench(), batch, { ...post({ nonsense: true }), bearer: "" });
    expect(statusCode).toBe(401);
  });

  test("counts each job against the user's limit", async () => {
    const api = await bench({ settings: { RATE_PER_SUBJECT: 150 } });
    const hundred = post({ job_ids: Array.from({ length: 100 }, () => "job-123") });
    expect((await ask(api, batch, hundred)).statusCode).toBe(200);
    const second = await ask(api, batch, hundred);
    expect(second.statusCode).toBe(429);
    expect(Number(second.headers["retry-after"])).toBeGreaterThanOrEqual(19);
  });
});

describe("limits", () => {
  test("hold for each user, and tell when to come back", async () => {
    const api = await bench({ settings: { RATE_PER_SUBJECT: 100 } });
    const statuses = await Promise.all(
      Array.from({ length: 120 }, async () => (await ask(api, download("job-123"))).statusCode),
    );
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThanOrEqual(15);
    const refused = await ask(api, download("job-123"));
    expect(refused.headers).toMatchObject({ "retry-after": "1", ratelimit: '"subject";r=0;t=1' });
    expect(json(refused.body)["type"]).toBe("urn:problem-type:geocrop:too-many-requests");
    expect((await ask(api, download("job-123"), { as: "carol" })).statusCode).toBe(200);
  });

  test("hold for each address, good tokens or not", async () => {
    const api = await bench({ settings: { RATE_PER_ADDRESS: 100 } });
    for (let count = 0; count < 101; count += 1) await ask(api, download("job-123"), { bearer: "x" });
    expect((await ask(api, download("job-123"), { bearer: "x" })).statusCode).toBe(429);
    expect((await ask(api, download("job-123"))).statusCode).toBe(429);
    expect((await ask(api, "/healthz")).statusCode).toBe(200);
  });

  test("fill up steadily, and forget nobody early", () => {
    let now = 0;
    const limit = createRateLimit(600, () => now);
    expect(limit("a", 600)).toEqual({ allowed: true, remaining: 0, retryAfter: 0 });
    expect(limit("a")).toEqual({ allowed: false, remaining: 0, retryAfter: 1 });
    expect(limit("a", 100)).toMatchObject({ allowed: false, retryAfter: 10 });
    now = 1000;
    expect(limit("a", 10)).toMatchObject({ allowed: true, remaining: 0 });
    now = 3_600_000;
    expect(limit("a", 601)).toMatchObject({ allowed: false, remaining: 600 });
    expect(limit("b")).toMatchObject({ allowed: true, remaining: 599 });
  });

  test("lock nobody out when the machine's clock is set back", () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    onTestFinished(() => void vi.useRealTimers());
    const limit = createRateLimit(600);
    expect(limit("a")).toMatchObject({ allowed: true });
    vi.setSystemTime(Date.now() - 3_600_000);
    expect(limit("a")).toMatchObject({ allowed: true });
  });
});

describe("web pages", () => {
  test("of a configured origin may ask, and see what they need", async () => {
    const { headers } = await ask(await bench(), download("job-123"), {
      headers: { origin: "https://map.test" },
    });
    expect(headers).toMatchObject({
      "access-control-allow-origin": "https://map.test",
      "access-control-expose-headers": expect.stringContaining("Retry-After"),
    });
    expect(headers["vary"]).toMatch(/origin/i);
    expect(headers["access-control-allow-credentials"]).toBeUndefined();
  });

  test("may send a token and JSON", async () => {
    const { statusCode, headers } = await ask(await bench(), download("job-123"), {
      method: "OPTIONS",
      bearer: "",
      headers: {
        origin: "https://map.test",
        "access-control-request-method": "GET",
        "access-control-request-headers": "authorization",
      },
    });
    expect(statusCode).toBe(204);
    expect(headers).toMatchObject({
      "access-control-allow-headers": "Authorization, Content-Type",
      "access-control-max-age": "600",
    });
  });

  test.each([
    "https://map.test.evil.test",
    "https://evil.test",
    "http://map.test",
    "https://map.test:444",
    "https://MAP.test",
    "null",
    "*",
  ])("of %s may not", async (origin) => {
    const api = await bench();
    for (const method of ["GET", "OPTIONS"] as const) {
      const { headers } = await ask(api, download("job-123"), { method, headers: { origin } });
      expect(headers["access-control-allow-origin"]).toBeUndefined();
    }
  });
});

describe("a file's name", () => {
  test.each([
    ["field 7.tif", "field 7.tif"],
    ["../../etc/passwd", "_.._etc_passwd"],
    ["a\u202Egnp.tif", "a_gnp.tif"],
    ['a";filename="b\r\nX: y', "a_;filename=_b__X_ y"],
    ["  ..hidden. ", "hidden"],
    ["Fla\u0308che.tif", "Fl\u00E4che.tif"],
    ["\u0000\u0001/", "fallback"],
    ["...", "fallback"],
    ["a".repeat(300), "a".repeat(100)],
    ["\u{1F30D}".repeat(200), "\u{1F30D}".repeat(100)],
    ["\uD800x", "_x"],
  ])("%j becomes %j", (wanted, name) => {
    expect(safeFilename(wanted, "fallback")).toBe(name);
  });

  test("is told to old clients in ASCII, and to others in full", () => {
    expect(attachment("a b.tif")).toBe('attachment; filename="a b.tif"');
    expect(attachment("\u00E4'(x).tif")).toBe(
      `attachment; filename="_'(x).tif"; filename*=UTF-8''%C3%A4%27%28x%29.tif`,
    );
  });

  test("is signed into the URL", async () => {
    const { body } = await ask(await bench(), download("job-123", "?filename=field%207.tif"));
    expect(json(body)["filename"]).toBe("field 7.tif");
    expect(new URL(urlOf(body)).searchParams.get("response-content-disposition")).toBe(
      'attachment; filename="field 7.tif"',
    );
  });
});

test("metrics count answers by route, and hold no id of anybody", async () => {
  const metrics = createMetrics(() => 12);
  metrics.requestAnswered("/api/v1/results/:job_id/download", "GET", 200, 0.002);
  metrics.urlIssued();
  metrics.storageRead("absent", 0.01);
  const text = await metrics.render();
  expect(text).toContain(
    'geocrop_api_request_duration_seconds_count{route="/api/v1/results/:job_id/download",method="GET",status="200"} 1',
  );
  expect(text).toContain("geocrop_api_urls_issued_total 1");
  expect(text).toContain('geocrop_api_storage_read_duration_seconds_count{outcome="absent"} 1');
  expect(text).toContain("geocrop_api_issuer_keys_age_seconds 12");
});

test("the page for people is one piece of HTML that asks no other host, nor this one", async () => {
  const { statusCode, headers, body } = await ask(await bench(), "/docs", { bearer: "" });
  expect(statusCode).toBe(200);
  expect(headers["content-security-policy"]).toBe(docsPolicy);
  expect(body).toContain("/api/v1/results/{job_id}/result.tif");
  expect(body).not.toMatch(/<script|<img|<link|src=|https?:\/\//i);
  expect(body).not.toContain(publicOrigin);
});
