import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { createLogger } from "../../../../services/common/log.ts";
import { followFiles, mountFiles, type MountedFiles } from "../../../../services/common/mounted-files.ts";

let directory: string;
let mounted: MountedFiles | undefined;

const write = (name: string, content: string) => writeFile(join(directory, name), content);

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "mounted-files-"));
  await write("a", "a1");
  await write("b", "b1");
});
afterEach(async () => {
  mounted?.stop();
  await rm(directory, { recursive: true });
});

async function mount(apply: (contents: string[]) => void, errors: unknown[] = []): Promise<MountedFiles> {
  mounted = await mountFiles({
    paths: ["a", "b"].map((name) => join(directory, name)),
    apply: (contents) => apply(contents.map(String)),
    onError: (error) => errors.push(error),
    pollMs: 5,
  });
  return mounted;
}

test("changed files are applied, unchanged ones are not", async () => {
  const applied: string[][] = [];
  const files = await mount((contents) => applied.push(contents));
  await files.refresh();
  await write("b", "b2");
  await expect
    .poll(() => applied)
    .toEqual([
      ["a1", "b1"],
      ["a1", "b2"],
    ]);
});

test("what can't be used is reported, and what was in use stays until it is mended", async () => {
  const errors: unknown[] = [];
  let current: string[] = [];
  const files = await mount((contents) => {
    if (contents[0] === "bad") throw new Error("not usable");
    current = contents;
  }, errors);
  await write("a", "bad");
  await files.refresh();
  expect(current).toEqual(["a1", "b1"]);
  expect(errors.map(String)).toContain("Error: not usable");
  await rm(join(directory, "a"));
  await files.refresh();
  expect(String(errors.at(-1))).toContain("ENOENT");
  await write("a", "a2");
  await files.refresh();
  expect(current).toEqual(["a2", "b1"]);
});

test("what could not be applied is tried again, though the files stay as they are", async () => {
  let usable = false;
  let current: string[] = [];
  const files = await mount((contents) => {
    if (contents[0] === "a2" && !usable) throw new Error("not usable yet");
    current = contents;
  });
  await write("a", "a2");
  await files.refresh();
  expect(current).toEqual(["a1", "b1"]);
  usable = true;
  await files.refresh();
  expect(current).toEqual(["a2", "b1"]);
});

test("a reload and its failure are logged", async () => {
  const lines: string[] = [];
  const files = followFiles(createLogger({ write: (line) => lines.push(line) }));
  const path = join(directory, "a");
  await files.follow([path], (content) => {
    if (content.toString() === "bad") throw new Error("not usable");
  });
  await write("a", "bad");
  await files.refresh();
  files.stop();
  expect(lines.map((line): unknown => JSON.parse(line))).toMatchObject([
    { level: 30, msg: "files read", paths: [path] },
    {
      level: 50,
      msg: "reload failed, keeping the previous files",
      paths: [path],
      err: { message: "not usable" },
    },
  ]);
});

test("a missing file at the start is an error", async () => {
  await rm(join(directory, "b"));
  await expect(mount(() => undefined)).rejects.toThrow("ENOENT");
});
