import { expect, test } from "vitest";

import { issueLine, issueOf } from "../../../../tools/audit/audit-issues.ts";
import { ask, bench, download } from "../../../support/signed-url-api.ts";

test("the API's own line of an issued URL is read, and its others are not", async () => {
  const api = await bench();
  const answer = await ask(api, download("job-123"));
  await ask(api, download("job-123"), { as: "bob" });
  const issues = api
    .logs()
    .split("\n")
    .flatMap((line) => issueOf(line) ?? []);
  const { url }: { url: string } = JSON.parse(answer.body);
  const { searchParams } = new URL(url);
  expect(issues).toEqual([
    {
      time: expect.stringMatching(/^20\d\d-/),
      jobId: "job-123",
      subject: "alice",
      admin: false,
      pseudonym: searchParams.get("x-geocrop-subject"),
      issuance: searchParams.get("x-geocrop-issuance"),
      expiresAt: "2026-11-24T10:20:00.000Z",
      address: "127.0.0.1",
    },
  ]);
});

test("a line for people steers no terminal", () => {
  const issue = issueOf(
    '{"msg":"URL issued","time":"2026-11-24T10:00:00.123Z","subject":"a\\u001b[2Jb","admin":true}',
  );
  expect(issue && issueLine(issue)).toBe(
    "2026-11-24T10:00:00Z  URL      given to a?[2Jb, as an administrator  from   until ",
  );
});
