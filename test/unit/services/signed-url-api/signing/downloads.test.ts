import { expect, test, vi } from "vitest";

import { createDownloads } from "../../../../../services/signed-url-api/signing/downloads.ts";
import { createPresigner, type Presign } from "../../../../../services/signed-url-api/signing/presign.ts";

const credentials = () => ({ accessKey: "a", secretKey: "s" });
const request = {
  jobId: "job-1",
  result: { key: "jobs/job-1/result.tif", size: 1, etag: undefined, contentType: undefined },
  user: { subject: "alice", pseudonym: "p", admin: false },
  expiresIn: 900,
  filename: "job-1.tif",
};

test("a URL is signed once until its window ends, its job is read anew or the key rotates", () => {
  let now = 1_790_000_100_000;
  const presign = vi.fn<Presign>(createPresigner("https://downloads.test", "us-east-1", credentials));
  const downloads = createDownloads({ bucket: "geocrop-results", presign, now: () => now });
  const first = downloads.sign(request);
  expect(downloads.sign(request)).toBe(first);
  expect(presign).toHaveBeenCalledTimes(1);

  const readAnew = { ...request, result: { ...request.result } };
  expect(downloads.sign(readAnew)).toEqual(first);
  expect(presign).toHaveBeenCalledTimes(2);

  downloads.invalidate();
  expect(downloads.sign(readAnew)).toEqual(first);
  expect(presign).toHaveBeenCalledTimes(3);

  now += 300_000;
  expect(downloads.sign(readAnew).url).not.toBe(first.url);
});
