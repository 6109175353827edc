import { expect, test } from "vitest";

import { createDownloads } from "../../../../services/signed-url-api/signing/downloads.ts";
import { createLogLines } from "../../../../services/signed-url-api/log-lines.ts";
import { createPresigner } from "../../../../services/signed-url-api/signing/presign.ts";

const turn = () => new Promise(setImmediate);

test("lines of one turn are written at once, and only then is anybody told", async () => {
  const happened: string[] = [];
  const lines = createLogLines({ write: (text) => happened.push(`written ${text}`) });
  lines.whenWritten(() => happened.push("told first"));
  lines.write("a");
  lines.write("b");
  lines.whenWritten(() => happened.push("told second"));
  expect(happened).toEqual([]);
  await turn();
  expect(happened).toEqual(["written ab", "told first", "told second"]);
  lines.write("c");
  await turn();
  expect(happened.slice(3)).toEqual(["written c"]);
});

test("what is logged by who is told waits for the next turn", async () => {
  const written: string[] = [];
  const lines = createLogLines({ write: (text) => written.push(text) });
  lines.whenWritten(() => {
    lines.write("later");
    lines.whenWritten(() => written.push("told"));
  });
  await turn();
  await turn();
  expect(written).toEqual(["later", "told"]);
});

test("an answer is kept when it is asked for a second time, and then no longer made anew", () => {
  const presign = createPresigner("https://downloads.test", "us-east-1", () => ({
    accessKey: "a",
    secretKey: "s",
  }));
  const downloads = createDownloads({ bucket: "geocrop-results", presign, now: () => 1_790_000_000_000 });
  const wish = {
    jobId: "job-1",
    result: { key: "jobs/job-1/result.tif", size: 1, etag: undefined, contentType: undefined },
    user: { subject: "alice", pseudonym: "p", admin: false },
    expiresIn: 900,
    filename: "job-1.tif",
  };
  const [first, second, third] = [0, 1, 2].map(() => downloads.issue(wish));
  expect(first).toEqual(second);
  expect(first).not.toBe(second);
  expect(second).toBe(third);
});
