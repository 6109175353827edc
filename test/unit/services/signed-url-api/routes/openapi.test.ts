import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

import { expect, test } from "vitest";

import * as schemas from "../../../../../services/signed-url-api/routes/schemas.ts";
import { ask, bench, download } from "../../../../support/signed-url-api.ts";

const run = promisify(execFile);
const { resolve } = createRequire(import.meta.url);

const documentOf = async (): Promise<string> =>
  (await ask(await bench(), "/openapi.json", { bearer: "" })).body;

test("the document passes spectral's OWASP and OpenAPI rules", async () => {
  const directory = await mkdtemp(join(tmpdir(), "openapi-"));
  try {
    await writeFile(join(directory, "openapi.json"), await documentOf());
    const owasp = resolve("@stoplight/spectral-owasp-ruleset");
    await writeFile(join(directory, "rules.yaml"), `extends: ["spectral:oas", "${owasp}"]\n`);
    const spectral = join(dirname(resolve("@stoplight/spectral-cli/package.json")), "dist/index.js");
    const args = [
      "lint",
      "openapi.json",
      "--ruleset",
      "rules.yaml",
      "--fail-severity",
      "warn",
      "--format",
      "text",
    ];
    const { stdout } = await run(process.execPath, [spectral, ...args], { cwd: directory }).catch(
      (error: { stdout: string }) => error,
    );
    // It is told of nothing but to look twice at `redirect`, which takes true and false, and no address.
    const findings = stdout.split("\n").filter((line) => /:\d+:\d+ /.test(line));
    expect(findings.filter((line) => !line.includes("concerning-url-parameter"))).toEqual([]);
    expect(findings.every((line) => / information /.test(line))).toBe(true);
    expect(findings).toHaveLength(1);
  } finally {
    await rm(directory, { recursive: true });
  }
}, 60_000);

test("the document tells of the three routes, and of what the validation goes by", async () => {
  const { paths } = JSON.parse(await documentOf());
  expect(Object.keys(paths)).toEqual([
    "/api/v1/results/{job_id}/download",
    "/api/v1/results/{job_id}/result.tif",
    "/api/v1/results/download",
  ]);
  const { parameters } = paths["/api/v1/results/{job_id}/download"].get;
  const expiry = parameters.find(({ name }: { name: string }) => name === "expires_in");
  expect(expiry.schema).toMatchObject({ type: "integer", minimum: 900, maximum: 3600 });
});

test("answers are what the document says", async () => {
  const api = await bench();
  const one = await ask(api, download("job-123"));
  expect(schemas.download.parse(JSON.parse(one.body))).toEqual(JSON.parse(one.body));
  const many = await ask(api, "/api/v1/results/download", {
    method: "POST",
    payload: { job_ids: ["job-123", "none", "x y"] },
  });
  expect(schemas.batchAnswer.parse(JSON.parse(many.body))).toEqual(JSON.parse(many.body));
  for (const url of [
    download("none"),
    download("running"),
    download("job-123", "?expires_in=1"),
    "/nowhere",
  ]) {
    const { body } = await ask(api, url);
    expect(schemas.problem.parse(JSON.parse(body))).toEqual(JSON.parse(body));
  }
});
