import type { FastifyRequest } from "fastify";

import { userOf } from "../auth/sign-in.ts";
import type { Jobs } from "../jobs/jobs.ts";
import type { LogWriter } from "../log-writer.ts";
import type { Metrics } from "../metrics.ts";
import { toProblem } from "../problems.ts";
import type { Download, Downloads } from "../signing/downloads.ts";
import { safeFilename } from "../signing/filename.ts";

/** Issues URLs to the users of requests. Every route that hands one out does so by this. */
export interface UrlIssuer {
  /**
   * Signs the URL of a job's result for the user, who must not get it before `record` has resolved.
   *
   * @param jobId - checked against the pattern by the caller
   * @throws Problem: 404 and 409 as the job is
   * @throws StorageError when storage doesn't answer
   */
  prepare: (request: FastifyRequest, jobId: string, options: UrlOptions) => Promise<Download>;
  /** Logs who is given which URL, the API's half of the audit log. Resolves once that is written. */
  record: (request: FastifyRequest, jobId: string, download: Download) => Promise<void>;
}

/** What a user may ask of a URL. */
export interface UrlOptions {
  /** In seconds. */
  expires_in?: number | undefined;
  filename?: string | undefined;
}

/** What {@link createUrlIssuer} needs. */
export interface UrlIssuerOptions {
  jobs: Jobs;
  downloads: Downloads;
  metrics: Metrics;
  logWriter: LogWriter;
  /** A URL's life unless asked for otherwise, in seconds. */
  expirySeconds: number;
}

export function createUrlIssuer(options: UrlIssuerOptions): UrlIssuer {
  const { jobs, downloads, metrics, logWriter, expirySeconds } = options;
  return {
    async prepare(request, jobId, { expires_in: expiresIn = expirySeconds, filename }) {
      const user = userOf(request);
      const result = await jobs.find(jobId, user).catch((error: unknown) => {
        request.log.info({ jobId, subject: user.subject, why: toProblem(error).slug }, "no URL issued");
        throw error;
      });
      const ownName = `${jobId}.tif`;
      const name = filename === undefined ? ownName : safeFilename(filename, ownName);
      return downloads.sign({ jobId, result, user, expiresIn, filename: name });
    },

    record(request, jobId, { issuance, expiresAt }) {
      const { subject, admin } = userOf(request);
      metrics.urlIssued();
      request.setDecorator("urlIssued", true);
      // `npm run audit` reads this line.
      request.log.info(
        {
          address: request.ip,
          jobId,
          subject,
          admin: admin || undefined,
          "x-geocrop-issuance": issuance["x-geocrop-issuance"],
          "x-geocrop-subject": issuance["x-geocrop-subject"],
          expiresAt,
        },
        "URL issued",
      );
      return logWriter.written();
    },
  };
}
