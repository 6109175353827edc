import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";

import { cannotHave, ensureProgram } from "../support/debian.ts";
import { snippet } from "../support/snippets.ts";

/** The alerts of docs/monitoring.md in Prometheus' own promtool, on made-up series, a value each minute. */
const promtool = "/usr/bin/promtool";
const skipped = cannotHave(promtool);

type Series = Readonly<Record<string, string>>;

const route = 'job="geocrop-api",route="/api/v1/results/:job_id/download",method="GET"';
const answered = (status: number) =>
  `geocrop_api_request_duration_seconds_count{${route},status="${status}"}`;
const within = (seconds: string) =>
  `geocrop_api_request_duration_seconds_bucket{${route},status="200",le="${seconds}"}`;
const read = (outcome: string) =>
  `geocrop_api_storage_read_duration_seconds_count{job="geocrop-api",outcome="${outcome}"}`;
const pod = 'up{job="geocrop-api",instance="10.244.0.9:9100"}';
const keys = 'geocrop_api_issuer_keys_age_seconds{job="geocrop-api"}';
const probes =
  'geocrop_api_request_duration_seconds_count{job="geocrop-api",route="/readyz",method="GET",status="200"}';

/** 1000 requests a minute, five of which fail, and half a percent takes its time. */
const healthy: Series = {
  [pod]: "1x60",
  [probes]: "0+100000x60",
  [answered(200)]: "0+995x60",
  [answered(503)]: "0+5x60",
  [within("0.5")]: "0+995x60",
  [within("1")]: "0+1000x60",
  [within("+Inf")]: "0+1000x60",
  [read("found")]: "0+100x60",
  [read("failed")]: "0x60",
  [keys]: "30x60",
};

describe.skipIf(skipped !== undefined)(
  `the alerts${skipped === undefined ? "" : ` (skipped: ${skipped})`}`,
  () => {
    let directory: string;
    let names: string[];

    beforeAll(async () => {
      await ensureProgram(promtool, "prometheus");
      directory = await mkdtemp(join(tmpdir(), "monitoring-rules-"));
      const rules = await snippet("monitoring.md", "yaml geocrop-api.rules.yml");
      await writeFile(join(directory, "geocrop-api.rules.yml"), rules);
      const page: { groups: { rules: { alert: string }[] }[] } = parse(rules);
      names = page.groups.flatMap((group) => group.rules.map(({ alert }) => alert));
    });
    afterAll(() => rm(directory, { recursive: true }));

    /** Which alerts fire after half an hour. */
    async function firing(series: Series): Promise<string[]> {
      const judged = await Promise.all(
        names.map(async (alertname) => {
          const file = join(directory, `${alertname}.test.yml`);
          await writeFile(
            file,
            stringify({
              rule_files: ["geocrop-api.rules.yml"],
              tests: [
                {
                  interval: "1m",
                  input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
                  alert_rule_test: [{ eval_time: "30m", alertname, exp_alerts: [] }],
                },
              ],
            }),
          );
          return promisify(execFile)(promtool, ["test", "rules", file]).then(
            () => [],
            ({ stdout, stderr }: { stdout: string; stderr: string }) => {
              // promtool tells what fires by failing the expectation that nothing does.
              if (!`${stdout}${stderr}`.includes(`got:[`)) throw new Error(`${stdout}${stderr}`);
              return [alertname];
            },
          );
        }),
      );
      return judged.flat();
    }

    test("are silent while all is well, and while nobody asks for anything", async () => {
      expect(names.length).toBeGreaterThan(3);
      expect(await firing(healthy)).toEqual([]);
      expect(await firing({ [pod]: "1x60", [probes]: "0+20x60", [keys]: "0x60" })).toEqual([]);
    });

    test.each<[string, string, Series]>([
      ["GeocropApiDown", "no pod is found", { [pod]: "_x60" }],
      ["GeocropApiDown", "no pod answers", { [pod]: "0x60" }],
      ["GeocropApiErrors", "two in a hundred answers are failures", { [answered(503)]: "0+20x60" }],
      ["GeocropApiSlow", "two in a hundred take over half a second", { [within("0.5")]: "0+980x60" }],
      ["GeocropApiStorageFails", "MinIO fails now and then", { [read("failed")]: "0+1x60" }],
      ["GeocropApiIssuerKeysOld", "the issuer is silent", { [keys]: "0+60x60" }],
    ])("%s fires when %s, and nothing else does", async (alert, _, change) => {
      expect(await firing({ ...healthy, ...change })).toEqual([alert]);
    });
  },
);
