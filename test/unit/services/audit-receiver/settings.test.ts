import { expect, test } from "vitest";

import { readSettings } from "../../../../services/audit-receiver/settings.ts";

const index = "https://logs.example:9428/insert/jsonline?_time_field=time";

test("what isn't set has the defaults of the container", () => {
  expect(readSettings({})).toEqual({
    port: 8443,
    tlsDir: "/etc/geocrop/tls",
    tokenFile: "/etc/geocrop/audit-token/token",
    dataDir: "/var/lib/audit",
    segmentBytes: 64 * 1024 * 1024,
    retention: undefined,
    forward: undefined,
  });
});

test("a retention is set as a whole, and files begin often enough for it to be kept", () => {
  const env = { RETENTION_DAYS: "90", RETENTION_BYTES: "1000000" };
  expect(readSettings(env)).toMatchObject({
    segmentBytes: 100_000,
    retention: { days: 90, bytes: 1_000_000 },
  });
});

test("an index is set by its address, and by its form if that is another than NDJSON", () => {
  expect(readSettings({ FORWARD_URL: index }).forward).toEqual({
    url: new URL(index),
    format: "ndjson",
    authorizationFile: undefined,
  });
  expect(readSettings({ FORWARD_URL: index, FORWARD_FORMAT: "loki" }).forward?.format).toBe("loki");
});

test.each([
  [{ PORT: "" }, 'PORT is "": must be a whole number'],
  [{ PORT: "https" }, 'PORT is "https": must be a whole number'],
  [{ PORT: "-1" }, 'PORT is "-1": must be a whole number'],
  [{ PORT: "65536" }, 'PORT is "65536": must be from 0 to 65535'],
  [{ PORT: "8443.5" }, 'PORT is "8443.5": must be a whole number'],
  [{ DATA_DIR: "" }, 'DATA_DIR is "": must not be empty'],
  [{ RETENTION_DAYS: "90" }, "RETENTION_DAYS, RETENTION_BYTES: set both or none"],
  [{ RETENTION_DAYS: "0", RETENTION_BYTES: "1" }, 'RETENTION_DAYS is "0": must be from 1'],
  [{ FORWARD_URL: "http://logs.example/" }, 'FORWARD_URL is "http://logs.example/": must be an https URL'],
  [{ FORWARD_URL: "logs.example" }, "must be an https URL"],
  [{ FORWARD_URL: "https://a:hunter2@logs.example/" }, "must hold no user or password"],
  [{ FORWARD_URL: index, FORWARD_FORMAT: "xml" }, 'FORWARD_FORMAT is "xml": must be ndjson or loki'],
])("%j is refused", (env, message) => {
  expect(() => readSettings(env)).toThrow(message);
});
