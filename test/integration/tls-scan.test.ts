import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { ensureBuilds } from "../../sandbox/cluster/builds.ts";
import { ensureBase } from "../../sandbox/cluster/images/bases.ts";
import { layoutOf } from "../../sandbox/layout.ts";
import { runner } from "../../sandbox/run.ts";
import { type Pipeline, startPipeline } from "../support/audit-pipeline.ts";
import { cannotHave, ensureProgram } from "../support/debian.ts";
import { type Gateway, gatewayCannotRun, startGateway } from "../support/download-gateway.ts";

/** testssl.sh, a Debian package, on the stack's servers: protocols, suites, forward secrecy, known attacks. */
const execute = promisify(execFile);
const scanner = "/usr/bin/testssl";
const skipped = gatewayCannotRun ?? cannotHave(scanner);

/** Findings that are accepted. */
const answers: Readonly<Record<string, string>> = {
  cipher_order: "Mozilla's intermediate leaves the choice to the client: all suites offered are good",
  cert_revocation:
    "an authority inside the stack has no revocation service; certificates live a year at most",
  DNS_CAArecord: "a CAA record belongs to the public zone, which is not the stack's",
  cert_expirationStatus:
    "these certificates are made for the test; `npm run verify` tells the stack's days left",
  cert_notAfter: "as before",
  TLS_session_ticket:
    "MinIO is in Go, whose ticket keys are in memory only and turn daily, whatever the ticket says",
  engine_problem: "the scanner's own OpenSSL lacks GOST",
};

interface Finding {
  readonly id: string;
  readonly severity: string;
  readonly finding: string;
}

describe.skipIf(skipped !== undefined)(
  `what testssl.sh finds${skipped === undefined ? "" : `: ${skipped}`}`,
  () => {
    let directory: string;
    let pipeline: Pipeline;
    let gateway: Gateway;

    beforeAll(async () => {
      const layout = layoutOf();
      const run = runner(new AbortController().signal);
      const step = { note: () => undefined, doing: () => undefined };
      await ensureProgram(scanner, "testssl.sh");
      const built = await ensureBuilds(layout, run, step);
      directory = await mkdtemp(join(tmpdir(), "tls-scan-"));
      pipeline = await startPipeline({ minio: join(built.minio, "minio"), mc: join(built.mc, "mc") });
      const base = await ensureBase("nginx", { cacheDir: layout.cache, run });
      const upstream = `localhost:${new URL(pipeline.minio.origin).port}`;
      gateway = await startGateway({ base, ca: pipeline.minio.ca, upstream });
    });

    afterAll(async () => {
      await gateway.remove();
      await pipeline.remove();
      await rm(directory, { recursive: true });
    });

    async function scan(origin: string, authority: string): Promise<Finding[]> {
      const report = join(directory, `${randomUUID()}.json`);
      const asked = ["-p", "-s", "-f", "-P", "-S", "-U"];
      const output = ["--quiet", "--color", "0", "--warnings", "batch", "--jsonfile", report];
      // It ends with the number of its findings.
      await execute(scanner, [...output, "--add-ca", authority, ...asked, new URL(origin).host], {
        timeout: 200_000,
      }).catch((error: unknown) => {
        if (!existsSync(report)) throw error;
      });
      const findings: Finding[] = JSON.parse(await readFile(report, "utf8"));
      return findings;
    }

    test.concurrent.each<[string, () => readonly [origin: string, authority: string]]>([
      ["the download gateway", () => [gateway.origin, join(gateway.tls, "tls.crt")]],
      ["MinIO", () => [pipeline.minio.origin, pipeline.minio.caFile]],
      [
        "the audit receiver, whose settings are the API's too",
        () => [pipeline.receiverOrigin, pipeline.minio.caFile],
      ],
    ])(
      "on %s is answered",
      async (_, server) => {
        const findings = await scan(...server());
        const told = new Map(findings.map(({ id, finding }) => [id, finding]));
        expect(told.get("TLS1")).toBe("not offered");
        expect(told.get("TLS1_1")).toBe("not offered");
        expect(told.get("TLS1_2")).toMatch(/^offered/);
        expect(told.get("TLS1_3")).toMatch(/^offered/);
        const bad = findings.filter(({ severity }) =>
          ["LOW", "MEDIUM", "HIGH", "CRITICAL"].includes(severity),
        );
        expect(bad.filter(({ id }) => !(id in answers))).toEqual([]);
        expect(findings.length).toBeGreaterThan(50);
      },
      240_000,
    );
  },
);
