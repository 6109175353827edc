import type { FastifyBaseLogger } from "fastify";

import type { Download } from "./downloads.ts";
import type { LogLines } from "../log-lines.ts";
import type { Metrics } from "../metrics.ts";
import type { User } from "../auth/tokens.ts";

/** A URL is about to be given to a user. */
export interface Issue {
  /** The request's id, unless the log's lines have it anyway. */
  reqId?: string;
  address: string;
  user: User;
  jobId: string;
  download: Download;
}

/** The API's half of the audit trail: logs who is given which URL, and calls back once that is written. */
export type RecordIssue = (log: FastifyBaseLogger, issue: Issue, written: () => void) => void;

/** The one way to record an issue, for all who hand out URLs: none leaves before its line is written. */
export const createRecordIssue =
  (metrics: Metrics, { whenWritten }: LogLines): RecordIssue =>
  (log, { reqId, address, jobId, user, download }, written) => {
    const { issuance, expiresAt } = download;
    const { subject, admin } = user;
    metrics.issued();
    log.info(
      {
        reqId,
        address,
        jobId,
        subject,
        admin: admin || undefined,
        "x-geocrop-issuance": issuance["x-geocrop-issuance"],
        "x-geocrop-subject": issuance["x-geocrop-subject"],
        expiresAt,
      },
      "URL issued",
    );
    whenWritten(written);
  };
