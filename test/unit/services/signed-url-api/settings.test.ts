import { describe, expect, test } from "vitest";

import { readSettings } from "../../../../services/signed-url-api/settings.ts";

const good = {
  S3_ENDPOINT: "https://minio.geocrop.svc.cluster.local:9000",
  DOWNLOAD_URL: "https://10.213.77.2:30444",
  JWT_ISSUER: "https://issuer.test",
  JWT_AUDIENCE: "geocrop-api",
  JWKS_FILE: "/etc/geocrop/jwks/jwks.json",
};

test("what isn't set has the defaults of the container", () => {
  expect(readSettings(good)).toEqual({
    ...good,
    PORT: 8443,
    METRICS_PORT: 9100,
    CORS_ORIGINS: [],
    RATE_PER_SUBJECT: 600,
    RATE_PER_ADDRESS: 3000,
    TLS_DIR: "/etc/geocrop/tls",
    CREDENTIALS_DIR: "/etc/geocrop/credentials",
    S3_CA_FILE: "/etc/geocrop/tls/ca.crt",
    S3_REGION: "us-east-1",
    RESULTS_BUCKET: "geocrop-results",
    URL_EXPIRY_SECONDS: 900,
    JWT_ALGORITHMS: ["ES256"],
  });
});

test("lists, numbers and pairs are read", () => {
  const settings = readSettings({
    ...good,
    JWT_ALGORITHMS: "ES256, RS256",
    URL_EXPIRY_SECONDS: "3600",
    CORS_ORIGINS: "https://a.test, https://b.test:8443",
    ADMIN_CLAIM: "https://geocrop.test/roles=ops=all",
  });
  expect(settings.CORS_ORIGINS).toEqual(["https://a.test", "https://b.test:8443"]);
  expect(settings.ADMIN_CLAIM).toEqual({ claim: "https://geocrop.test/roles", value: "ops=all" });
  expect(settings.JWT_ALGORITHMS).toEqual(["ES256", "RS256"]);
  expect(settings.URL_EXPIRY_SECONDS).toBe(3600);
});

const read = () =>
  readSettings({
    ...good,
    DOWNLOAD_URL: "http://downloads.test",
    URL_EXPIRY_SECONDS: "60",
    JWT_ISSUER: undefined,
    JWT_ALGORITHMS: "HS256",
    JWKS_URL: "https://issuer.test/jwks",
  });

test("every fault is told at once, with variable, value and remedy", () => {
  expect(read).toThrow(/DOWNLOAD_URL is "http:\/\/downloads\.test": must be an https URL/);
  expect(read).toThrow(/URL_EXPIRY_SECONDS is "60": must be from 900 to 3600/);
  expect(read).toThrow(/JWT_ISSUER is not set: must be set/);
  expect(read).toThrow(/JWT_ALGORITHMS is "HS256": must be a comma list of ES256/);
  expect(read).toThrow(/JWKS_URL, JWKS_FILE: set exactly one/);
});

describe("refused", () => {
  test.each([
    ["URL_EXPIRY_SECONDS", "899"],
    ["URL_EXPIRY_SECONDS", "3601"],
    ["URL_EXPIRY_SECONDS", "900s"],
    ["URL_EXPIRY_SECONDS", ""],
    ["PORT", "70000"],
    ["DOWNLOAD_URL", "https://downloads.test/path"],
    ["DOWNLOAD_URL", "https://downloads.test:443"],
    ["DOWNLOAD_URL", "https://downloads.test?x=1"],
    ["DOWNLOAD_URL", "downloads.test"],
    ["S3_ENDPOINT", "http://minio:9000"],
    ["RESULTS_BUCKET", "Geocrop/Results"],
    ["JWT_ALGORITHMS", "none"],
    ["JWT_ALGORITHMS", ""],
    ["JWT_ALGORITHMS", "ES256,HS256"],
    ["JWT_AUDIENCE", ""],
    ["JWKS_FILE", undefined],
    ["CORS_ORIGINS", "*"],
    ["CORS_ORIGINS", "null"],
    ["CORS_ORIGINS", "https://a.test,http://b.test"],
    ["CORS_ORIGINS", "https://*.test/"],
    ["ADMIN_CLAIM", "admin"],
    ["ADMIN_CLAIM", "=yes"],
    ["RATE_PER_SUBJECT", "99"],
    ["RATE_PER_ADDRESS", "0"],
  ])("%s=%j", (name, value) => {
    expect(() => readSettings({ ...good, [name]: value })).toThrow("the environment is not usable");
  });
});

test("a password in an address is not repeated", () => {
  expect(() => readSettings({ ...good, S3_ENDPOINT: "https://user:pa55@minio:9000" })).toThrow(
    /^(?![^]*pa55)[^]*\*\*\*@minio:9000/,
  );
});
