import { existsSync, readdirSync, readFileSync } from "node:fs";

import { describe, expect, test } from "vitest";

import { checks } from "../../tools/verify/checks/index.ts";

const page = readFileSync("docs/security-coverage.md", "utf8");

/** `prefix.1` to `prefix.<count>`. */
const numbered = (prefix: string, count: number, from = 1): string[] =>
  Array.from({ length: count - from + 1 }, (_, index) => `${prefix}${index + from}`);

const references: Readonly<Record<string, readonly string[]>> = {
  "CIS Kubernetes Benchmark": [
    ...numbered("5.1.", 13),
    ...numbered("5.2.", 13),
    ..."5.3.1 5.3.2 5.4.1 5.4.2 5.5.1".split(" "),
    ...numbered("5.7.", 4),
  ],
  "NSA/CISA": [...numbered("1.", 12, 0), "2.0", "3.0", "4.0"],
  "OWASP ASVS":
    "8.2.1 8.2.2 8.3.1 8.3.2 8.3.3 8.4.1 9.1.1 9.1.2 9.1.3 9.2.1 9.2.2 9.2.3 16.2.1 16.2.2 16.2.5 16.3.1 16.3.2 16.4.1 16.4.2 16.4.3 16.5.3".split(
      " ",
    ),
  "OWASP API Security": numbered("API", 10),
};

/** The cells of a section's table. */
function rows(title: string): string[][] {
  const section = page.split("\n## ").find((text) => text.startsWith(title)) ?? "";
  return section
    .split("\n")
    .filter((line) => /^\| (?!id|-)/.test(line))
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

describe.each(Object.keys(references))("%s", (title) => {
  test("has a row for each id, with what shows it or why it is not ours", () => {
    expect(rows(title).map(([id]) => id)).toEqual(references[title]);
    for (const [id, , shown = ""] of rows(title)) {
      expect(shown, id).toMatch(/`test\/[\w/.-]+`|^not ours.{20}/);
    }
  });
});

test("names tests and checks that exist", () => {
  const files = [...page.matchAll(/`(test\/[\w/.-]+)`/g)].map(([, file = ""]) => file);
  expect(files.length).toBeGreaterThan(80);
  expect(files.filter((file) => !existsSync(file))).toEqual([]);
  const named = [...page.matchAll(/_(\w+\.[\w-]+)_/g)].map(([, id = ""]) => id);
  const known = new Set(checks.map(({ id }) => id));
  expect(named.filter((id) => !known.has(id))).toEqual([]);
});

test("is right: no Role, no default account, a namespace of its own that enforces Pod Security", () => {
  for (const stack of ["dev", "prod"]) {
    const folder = `test/golden/${stack}/kubernetes`;
    const kinds = readdirSync(folder);
    expect(readFileSync(`${folder}/namespace-geocrop.yaml`, "utf8")).toMatch(
      /pod-security\.kubernetes\.io\/enforce: restricted/,
    );
    expect(kinds.length).toBeGreaterThan(25);
    expect(kinds.filter((name) => /^(cluster)?role(binding)?-/.test(name))).toEqual([]);
    const namespaces = kinds
      .map((name) => /^ {2}namespace: (.*)$/m.exec(readFileSync(`${folder}/${name}`, "utf8"))?.[1])
      .filter((name) => name !== undefined);
    expect(new Set(namespaces)).toEqual(new Set(["geocrop"]));
    for (const name of kinds.filter((name) => /^(deployment|statefulset)-/.test(name))) {
      expect(readFileSync(`${folder}/${name}`, "utf8"), name).toMatch(/serviceAccountName: (?!default)\S/);
    }
  }
});
