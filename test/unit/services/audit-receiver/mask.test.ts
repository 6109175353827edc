import { describe, expect, test } from "vitest";
import { maskEvent, maskText, maskUnparsed } from "../../../../services/audit-receiver/mask.ts";

const SIGNATURE = "5f0c9a7e".repeat(8);

describe("an event keeps no secret", () => {
  test.each([
    ["the signature", "X-Amz-Signature"],
    ["the security token", "X-Amz-Security-Token"],
    ["authorisation", "Authorization"],
    ["a lower-case name", "authorization"],
    ["a cookie", "Cookie"],
    ["a cookie that is set", "Set-Cookie"],
    ["a client's encryption key", "X-Amz-Server-Side-Encryption-Customer-Key"],
    ["a version 2 signature", "Signature"],
    ["a percent-encoded name", "X%2dAmz%2DSignature"],
    ["a name encoded twice", "X%252DAmz-Signature"],
    ["a name in odd case", "x-aMZ-sIGNATURE"],
  ])("%s is masked by name, at any depth", (_, name) => {
    const masked = JSON.stringify(
      maskEvent({
        requestQuery: { [name]: SIGNATURE },
        requestHeader: { [name]: [SIGNATURE] },
        list: [{ [name]: SIGNATURE }],
      }),
    );
    expect(masked).not.toContain(SIGNATURE);
    expect(masked).toContain("***");
  });

  test.each([
    ["plain", `/geocrop-results/a?X-Amz-Signature=${SIGNATURE}&x=1`],
    ["encoded", `/a%3FX-Amz-Signature%3D${SIGNATURE}%26x%3D1`],
    ["an encoded name", `/a?X%2DAmz%2dSignature=${SIGNATURE}`],
    ["a name encoded letter by letter", `/a?%58-%41mz-Signature=${SIGNATURE}`],
  ])("a URL in any string is masked: %s", (_, url) => {
    const masked = JSON.stringify(
      maskEvent({ requestPath: url, requestHeader: { Referer: `https://host${url}` } }),
    );
    expect(masked).not.toContain(SIGNATURE);
  });

  test("a key that holds a whole query is masked", () => {
    expect(
      JSON.stringify(maskEvent({ requestQuery: { [`a?X-Amz-Signature=${SIGNATURE}`]: "" } })),
    ).not.toContain(SIGNATURE);
  });

  test("the access key stays, and nothing else of the credential", () => {
    const credential = "AKIAEXAMPLE/20261124/us-east-1/s3/aws4_request";
    expect(maskEvent({ requestQuery: { "X-Amz-Credential": credential } })).toEqual({
      requestQuery: { "X-Amz-Credential": "AKIAEXAMPLE" },
    });
    expect(maskText(`?X-Amz-Credential=${encodeURIComponent(credential)}&y=1`)).toBe(
      "?X-Amz-Credential=AKIAEXAMPLE&y=1",
    );
    expect(maskText(`"X-Amz-Credential":"${credential}"`)).toBe('"X-Amz-Credential":"AKIAEXAMPLE"');
  });

  test("what an auditor needs stays as it was", () => {
    const event = {
      version: "1",
      api: { name: "GetObject", object: "jobs/job-1/result.tif", statusCode: 200, tx: 1234 },
      requestID: "18A",
      requestQuery: {
        "X-Amz-SignedHeaders": "host",
        "X-Amz-Date": "20261124T000000Z",
        "x-geocrop-user": "alice",
      },
      objects: null,
      ok: true,
    };
    expect(maskEvent(event)).toEqual(event);
  });

  test("an object cannot hide its name behind a header's", () => {
    const path = "/geocrop-results/jobs/a/cookie=b/authorization: c/signature=d";
    expect(maskEvent({ requestPath: path })).toEqual({ requestPath: path });
  });

  test("a key named __proto__ stays a key", () => {
    expect(JSON.stringify(maskEvent(JSON.parse('{"__proto__":{"Cookie":"a"}}')))).toBe(
      '{"__proto__":{"Cookie":"***"}}',
    );
  });
});

describe("text that is no event keeps no secret either", () => {
  test.each([
    ["a JSON member", `{"requestQuery":{"X-Amz-Signature":"${SIGNATURE}"`],
    ["a JSON member inside a JSON string", `"{\\"X-Amz-Security-Token\\":\\"s3cr3t/+=\\"}"`],
    ["a member with an escaped name", String.raw`{"X\u002dAmz-Security-Token":"s3cr3t"}`],
    ["a header line", "GET / HTTP/1.1\r\nAuthorization: Basic s3cr3t\r\nHost: a"],
    ["a cookie with quotes", String.raw`{"Cookie":"a=\"s3cr3t\"; b=s3cr3t"}`],
    ["a list of values", `{"Authorization":["Bearer s3cr3t"]}`],
    ["a query", "X-Amz-Security-Token=s3cr3t&a=b"],
    ["a torn-off signature", `0${SIGNATURE}&X-Amz-Date=2`],
    ["a scheme without its header", "...n: Bearer s3cr3t"],
    ["a token without its scheme", "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzM2NyM3QifQ.s3cr3t"],
  ])("%s", (_, text) => {
    const masked = maskUnparsed(text);
    expect(masked).not.toMatch(/s3cr3t|5f0c9a7e/);
    expect(masked).toContain("***");
  });

  test.each([
    ["spaces", `X-Amz-Signature=${" ".repeat(1_000_000)}&`],
    ["backslashes", `X-Amz-Signature${"\\".repeat(1_000_000)}`],
    ["percent signs", `X%${"25".repeat(500_000)}2`],
    ["names", "X-Amz-Signature".repeat(60_000)],
    ["token starts", "-eyJ".repeat(16_000)],
  ])("a long run of %s does not hold up the process", (_, text) => {
    const start = performance.now();
    maskUnparsed(text);
    expect(performance.now() - start).toBeLessThan(5_000);
  });
});
