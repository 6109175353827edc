import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

import { configKeys } from "../../support/config-keys.ts";

/** The rows of the page's tables of keys; the other tables have other columns. */
function documentedKeys() {
  return readFileSync("docs/configuration.md", "utf8")
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .map((line) => line.split("|").map((cell) => cell.trim()))
    .filter(([, key = "", type, , description]) => key.startsWith("`") && type !== undefined && description)
    .map(([, key, type, fallback, description]) => ({ key, type, fallback, description }));
}

test("docs/configuration.md has every key of the schema, with its type and default, and describes it", () => {
  const documented = documentedKeys().map(({ key, type, fallback }) => ({ key, type, fallback }));
  const byKey = (keys: readonly { key?: string | undefined }[]) =>
    keys.toSorted((one, other) => (one.key ?? "").localeCompare(other.key ?? ""));
  expect(byKey(documented)).toEqual(byKey(configKeys()));
});

test("the schema has keys of every kind, so that the page is not held to an empty list", () => {
  expect(configKeys()).toEqual(
    expect.arrayContaining([
      { key: "`namespace`", type: "name", fallback: "`geocrop`" },
      { key: "`api.urlExpirySeconds`", type: "seconds, 900 to 3600", fallback: "`900`" },
      { key: "`buckets.<name>.quota`", type: "size", fallback: "required" },
      {
        key: "`tls.issuerRef.kind`",
        type: "`Issuer`, `ClusterIssuer`",
        fallback: "`ClusterIssuer` with `cert-manager`",
      },
      {
        key: "`downloads.expose.nodePort`",
        type: "port, 30000 to 32767",
        fallback: "required with `NodePort`",
      },
      { key: "`audit.forward.url`", type: "https URL", fallback: "required with `audit.forward`" },
    ]),
  );
});
