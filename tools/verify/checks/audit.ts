import { randomBytes } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";

import { minioRegion, resultsBucket } from "../../../config/names.ts";
import { createPresigner } from "../../../services/signed-url-api/signing/presign.ts";
import type { Check } from "../check.ts";
import { checkChain, readTrail, type Trail } from "../trail.ts";

/** Milliseconds that a request may take to its place in the audit trail. */
const patience = 10_000;

export const auditChecks: readonly Check[] = [
  {
    id: "audit.trail",
    proves: '"Enable MinIO Audit Logs: Track all API access for compliance"',
    how: "sends MinIO a signed request and looks for it in the receiver's file; its signature must be masked, and the chain of hashes whole",
    remedy:
      "see the logs of audit-receiver and MinIO (audit_webhook), and whether MinIO may reach it; a broken chain was altered: keep the volume as it is",
    async run(target) {
      const pair = await target.credentials("api-signer");
      const marker = randomBytes(12).toString("hex");
      const { url } = createPresigner(
        `https://${target.hostOf("minio")}:9000`,
        minioRegion,
        () => pair,
      )({
        path: `/${resultsBucket}/jobs/geocrop-verify/audit-${marker}`,
        expiresIn: 60,
        now: new Date(),
        query: { "x-geocrop-verify": marker },
      });
      const { pathname, search, searchParams, host } = new URL(url);
      const signature = searchParams.get("X-Amz-Signature") ?? "";
      target.keepSecret(signature);
      const minio = await target.minio();
      const { status } = await minio.anonymous({ path: pathname + search, headers: { host } });
      if (status !== 404 && status !== 403)
        throw new Error(`the request to be audited was answered ${status}`);

      const started = Date.now();
      let trail: Trail | undefined;
      let found = false;
      while (!found && Date.now() - started < patience) {
        trail = await readTrail(target);
        found = trail.lines.some((line) => line.includes(marker));
        if (!found) await pause(500);
      }
      const seconds = ((Date.now() - started) / 1000).toFixed(1);
      const faults: string[] = [];
      if (!found) faults.push(`a signed request is not in the audit trail after ${patience / 1000} s`);
      if (trail?.lines.some((line) => line.includes(signature)))
        faults.push("the audit trail holds a live signature");
      if (trail !== undefined) {
        try {
          checkChain(trail);
        } catch (error) {
          faults.push(`the chain is broken: ${error instanceof Error ? error.message : String(error)}`);
        }
      }
      return {
        seen: `there after ${seconds} s, signature masked; ${trail?.lines.length ?? 0} entries chained (the newest 4 MiB)`,
        faults,
      };
    },
  },
];
