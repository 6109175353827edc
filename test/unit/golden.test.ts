import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, test } from "vitest";
import { parse } from "yaml";

import { renderStack } from "../../tools/preview/render.ts";

function filesOf(folder: string): Map<string, string> {
  const paths = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((path) =>
    path.endsWith(".yaml"),
  );
  return new Map(paths.map((path) => [path, readFileSync(join(folder, path), "utf8")]));
}

describe.each(["dev", "prod"])("the %s stack's objects", (stack) => {
  test("are the ones in test/golden; npm run golden brings those up to date", async () => {
    const rendered = await renderStack(".", stack);
    const golden = filesOf(join("test/golden", stack));
    expect([...rendered.keys()]).toEqual([...golden.keys()].toSorted());
    for (const [path, text] of rendered)
      expect(text, `${path}: npm run golden, if this is meant`).toBe(golden.get(path));
  });
});

test("no golden file holds a secret", () => {
  const secrets = [...filesOf("test/golden")].filter(([path]) => path.includes("/secret-"));
  expect(secrets.length).toBeGreaterThan(10);
  for (const [path, text] of secrets) {
    const secret: { data?: unknown; stringData: Record<string, string> } = parse(text);
    expect(secret.data, path).toBeUndefined();
    expect(new Set(Object.values(secret.stringData)), path).toEqual(new Set(["[secret]"]));
  }
  for (const [path, text] of filesOf("test/golden")) expect(text, path).not.toContain("PRIVATE KEY");
});
