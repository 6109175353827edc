import { describe, expect, test } from "vitest";
import { downloadsThatFit, nginxConfig } from "../../../../components/downloads/download-gateway-config.ts";

const config = nginxConfig({ upstream: "minio.geocrop.svc.cluster.local:9000" });

/** The pattern that a raw request target must match, in the syntax that PCRE and JavaScript share. */
function passes(target: string, bucket?: string): boolean {
  const text = bucket === undefined ? config : nginxConfig({ upstream: "minio:9000", bucket });
  const pattern = /"~(\^\/.*)" 1;/.exec(text)?.[1];
  if (pattern === undefined) throw new Error("no pattern in the configuration");
  return new RegExp(pattern).test(target);
}

const query =
  "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=key%2F20261124%2Fus-east-1%2Fs3%2Faws4_request" +
  `&X-Amz-Date=20261124T000000Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host&X-Amz-Signature=${"0a".repeat(32)}`;

describe("the request target", () => {
  test.each([
    "/geocrop-results/jobs/job-123/result.tif",
    "/geocrop-results/jobs/job-123/tiles/0/1.tif",
    "/geocrop-results/jobs/job-123/a%20b%C3%A9.tif",
    "/geocrop-results/jobs/..job/...",
  ])("%s passes with a signed query", (path) => {
    expect(passes(`${path}?${query}`)).toBe(true);
    expect(passes(`${path}?x-geocrop-user=alice&${query}&versionId=1`)).toBe(true);
  });

  test.each([
    ["no query", ""],
    ["an empty query", "?"],
    ["a query without signature", `?${query.replace(/&X-Amz-Signature=.*/, "")}`],
    ["a short signature", `?${query.slice(0, -1)}`],
    ["another algorithm", `?${query.replace("HMAC-SHA256", "HMAC-SHA1")}`],
    ["names in another case", `?${query.toLowerCase()}`],
    ["no expiry", `?${query.replace("X-Amz-Expires=900&", "")}`],
    ["no credential", `?${query.replace(/X-Amz-Credential=[^&]*/, "X-Amz-Credential=")}`],
    ["a name with a prefix", `?${query.replace("X-Amz-Signature", "aX-Amz-Signature")}`],
    ["a signature behind a fragment", `?a=b#&${query}`],
    ["a fragment at the end", `?${query}#a`],
    ["a version 2 signature", "?AWSAccessKeyId=a&Expires=1&Signature=b"],
  ])("%s does not", (_, suffix) => {
    expect(passes(`/geocrop-results/jobs/job-123/result.tif${suffix}`)).toBe(false);
  });

  test.each([
    "/",
    "/geocrop-models/jobs/job-123/result.tif",
    "/geocrop-results",
    "/geocrop-results/",
    "/geocrop-results/jobs/",
    "/geocrop-results/jobs/job-123",
    "/geocrop-results/jobs/job-123/",
    "/geocrop-results/other/job-123/result.tif",
    "/geocrop-results/jobs//result.tif",
    "/geocrop-results/jobs/job-123//result.tif",
    "//geocrop-results/jobs/job-123/result.tif",
    "/geocrop-results/jobs/../result.tif",
    "/geocrop-results/jobs/job-123/..",
    "/geocrop-results/jobs/job-123/./result.tif",
    "/geocrop-results/jobs/job-123/%2e%2e/result.tif",
    "/geocrop-results/jobs/job-123/.%2E/result.tif",
    "/geocrop-results/jobs/job-123%2f..%2fresult.tif",
    "/geocrop-results/jobs/job-123%5Cresult.tif",
    "/geocrop-results/jobs/job-123/%252e%252e/result.tif",
    "/geocrop-results/jobs/job-123/result.tif%00",
    "/geocrop-results/jobs/job-123/result.tif%",
    "/geocrop-results/jobs/job-123/result.tif;a",
    "/geocrop-results/jobs/job-123/re\\sult.tif",
    "/geocrop-results%2fjobs/job-123/result.tif",
    "/minio/admin/v3/info",
    "/minio/v2/metrics/cluster",
    "https://minio/geocrop-results/jobs/job-123/result.tif",
  ])("%s does not, though its query is signed", (path) => {
    expect(passes(`${path}?${query}`)).toBe(false);
  });

  test("is of the bucket that is configured", () => {
    expect(passes(`/elsewhere/jobs/job-123/result.tif?${query}`, "elsewhere")).toBe(true);
    expect(passes(`/geocrop-results/jobs/job-123/result.tif?${query}`, "elsewhere")).toBe(false);
  });

  test("takes no longer for a target made to slow the match down", () => {
    const start = performance.now();
    passes(`/geocrop-results/jobs/${"a%20".repeat(2_000)}?${"X-Amz-Algorithm=&".repeat(500)}`);
    expect(performance.now() - start).toBeLessThan(1_000);
  });
});

test("no error of a request is logged, for nginx would add the signed URL", () => {
  expect(config.match(/error_log .*/g)).toEqual(["error_log stderr notice;", "error_log /dev/null emerg;"]);
  expect(/log_format .*/.exec(config)?.[0]).not.toMatch(/\$(request|request_uri|args|query_string)"/);
});

test("a client's address is believed from nobody but the proxies that are named", () => {
  expect(config).not.toContain("set_real_ip_from");
  const behind = nginxConfig({ upstream: "minio:9000", trustedProxies: ["10.0.0.0/8", "fd00::/8"] });
  expect(behind.match(/set_real_ip_from .*/g)).toEqual([
    "set_real_ip_from 10.0.0.0/8;",
    "set_real_ip_from fd00::/8;",
  ]);
});

test("there are no more downloads at once than fit into its memory", () => {
  expect(downloadsThatFit(256 * 1024 * 1024)).toBe(554);
  expect(downloadsThatFit(1024)).toBe(1);
  expect(nginxConfig({ upstream: "minio:9000", downloadsAtOnce: 7 })).toContain("limit_conn all 7;");
  expect(config).not.toContain("limit_conn all");
});

test("MinIO's certificate is verified by its Service name", () => {
  expect(config).toContain("proxy_ssl_verify on;");
  expect(config).toContain("proxy_ssl_name minio.geocrop.svc.cluster.local;");
  expect(config).toContain("server minio.geocrop.svc.cluster.local:9000 ");
});
