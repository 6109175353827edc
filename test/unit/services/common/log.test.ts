import { expect, test } from "vitest";

import { createLogger } from "../../../../services/common/log.ts";

test("a line is one JSON object with level, time and message, and fields between them", () => {
  const lines: string[] = [];
  createLogger({ write: (text) => lines.push(text) }).info({ jobId: "a\nb" }, "URL issued");
  expect(lines).toEqual([
    expect.stringMatching(
      /^\{"level":30,"time":"\d{4}-\d\d-\d\dT[\d:.]+Z","jobId":"a\\nb","msg":"URL issued"\}\n$/,
    ),
  ]);
});

test("an error is logged with its kind, cause and code, and without what libraries attach to it", () => {
  const lines: string[] = [];
  const log = createLogger({ write: (text) => lines.push(text) });
  const cause = Object.assign(new Error("connect failed"), { code: "ECONNREFUSED" });
  const error = Object.assign(new TypeError("no keys", { cause }), { payload: { sub: "alice" } });
  log.error({ err: error }, "failed");
  log.error({ err: "just text" }, "failed");
  expect(lines.map((line): unknown => JSON.parse(line).err)).toEqual([
    {
      type: "TypeError",
      message: "no keys",
      stack: expect.any(String),
      cause: {
        type: "Error",
        message: "connect failed",
        code: "ECONNREFUSED",
        stack: expect.any(String),
      },
    },
    { type: "string", message: "just text" },
  ]);
});
