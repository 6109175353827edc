import { PassThrough, Readable } from "node:stream";

import { describe, expect, test } from "vitest";

import { exactly, readArguments } from "../../../../services/job-client/put.ts";

async function collect(chunks: AsyncIterable<Buffer>): Promise<string> {
  let text = "";
  for await (const chunk of chunks) text += chunk.toString();
  return text;
}

describe("exactly so many bytes", () => {
  test("of a stream that never ends", async () => {
    const input = new PassThrough();
    input.write("abc");
    input.write("defgh");
    expect(await collect(exactly(input, 5))).toBe("abcde");
  });

  test("none: nothing is read", async () => {
    expect(await collect(exactly(new PassThrough(), 0))).toBe("");
  });

  test("a stream that ends early is an error", async () => {
    await expect(collect(exactly(Readable.from([Buffer.from("abc")]), 4))).rejects.toThrow(
      "input ended early: 1 of 4 bytes missing",
    );
  });

  test("a stream that stalls is an error", async () => {
    const input = new PassThrough();
    input.write("abc");
    await expect(collect(exactly(input, 4, 20))).rejects.toThrow("no input for 0.02 s, 1 of 4 bytes missing");
  });
});

describe("the command line", () => {
  test("is read", () => {
    expect(readArguments(["--bucket", "b", "--key", "jobs/j/result.tif", "--bytes", "12"])).toEqual({
      bucket: "b",
      key: "jobs/j/result.tif",
      bytes: 12,
      contentType: "application/octet-stream",
    });
  });

  test.each([
    ["", "usage:"],
    ["--bucket b --key k", "usage:"],
    ["--bucket b --key k --bytes 1e3", "--bytes 1e3 must be a whole number"],
    ["--bucket b --key k --bytes 5368709121", "from 0 to 5368709120"],
    ["--nonsense", "--nonsense"],
  ])("%j is refused", (line, reason) => {
    expect(() => readArguments(line === "" ? [] : line.split(" "))).toThrow(reason);
  });
});
