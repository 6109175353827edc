import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { expect, onTestFinished, test } from "vitest";

test("an older Node is told which one the program needs, and nothing else is tried", () => {
  const folder = mkdtempSync(join(tmpdir(), "geocrop-start-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const older = join(folder, "older.mjs");
  writeFileSync(older, 'Object.defineProperty(process.versions, "node", { value: "20.20.0" });');
  const start = `import(${JSON.stringify(pathToFileURL("start.js").href)}).catch((error) => console.log(error.message))`;
  const { stdout } = spawnSync(process.execPath, ["--import", older, "-e", start], { encoding: "utf8" });
  expect(stdout).toMatch(/^Node 22\.18 or later runs this program, and this is 20\.20\.0: .*\n$/);
});

test("the entry exports all the outputs that index.ts does", () => {
  const exported = (file: string) =>
    [...readFileSync(file, "utf8").matchAll(/^export const (.*?) =/gm)]
      .flatMap(([, names = ""]) => names.match(/\w+/g) ?? [])
      .toSorted();
  expect(exported("start.js")).toEqual(exported("index.ts"));
  expect(exported("index.ts").length).toBeGreaterThan(0);
});
