import * as z from "zod";

import { jobIdPattern } from "../jobs/job-id.ts";
import { urlExpiry } from "../settings.ts";

/** What requests must be, and what answers are: for the validation, the types and the OpenAPI document alike. */

const jobId = z
  .string()
  .regex(new RegExp(`^${jobIdPattern}$`))
  .max(64)
  .meta({ description: "The job, never percent-encoded.", examples: ["job-123"] });

const seconds = z.int().min(urlExpiry.min).max(urlExpiry.max);
const expiresIn = seconds.meta({
  description:
    "The URL lives at least so many seconds, and at most 300 longer. The default is the deployment's, 900 unless changed.",
  format: "int32",
});

const filename = z
  .string()
  .min(1)
  .max(255)
  .meta({
    description:
      "The name to store the file under. What file systems don't take becomes `_`. Default: `<job_id>.tif`.",
    pattern: "^.*$",
    examples: ["field-7.tif"],
  });

/** A query holds text: digits only, and nothing that Number() would understand besides. */
const expiresInText = z
  .string()
  .regex(/^[0-9]{1,6}$/)
  .transform(Number)
  .pipe(expiresIn);

export const jobParams = z.strictObject({ job_id: jobId });

export const urlQuery = z.object({ expires_in: expiresInText.optional(), filename: filename.optional() });

export const downloadQuery = urlQuery.extend({
  redirect: z.enum(["true", "false"]).optional().meta({
    description:
      "`true` answers with a redirect to the URL, `false` with JSON. By default the Accept header decides.",
  }),
});

/** Ids are looked at one by one, so that a wrong one does not spoil the others. */
const anyId = z.string().max(256).meta({ pattern: "^.*$" });

export const batchBody = z.strictObject({
  job_ids: z
    .array(anyId)
    .min(1)
    .max(100)
    .meta({ description: "Answered in this order.", examples: [["job-123"]] }),
  expires_in: expiresIn.optional(),
});

const text = (max: number, description: string, pattern = "^.*$") =>
  z.string().max(max).meta({ description, pattern });
const uri = (description: string) => z.string().max(4096).meta({ description, format: "uri" });

export const problem = z
  .strictObject({
    type: text(100, "What is wrong; stable.", "^urn:problem-type:geocrop:[a-z-]+$"),
    title: text(100, "The same in a few words."),
    status: z.int().min(400).max(599).meta({ format: "int32" }),
    detail: text(500, "What to do about it.").optional(),
  })
  .meta({ description: "RFC 9457" });

export const download = z.strictObject({
  job_id: jobId,
  url: uri("GET this, without an Authorization header. Who has it can download: treat it as a password."),
  head_url: uri("The same for HEAD."),
  expires_at: z
    .string()
    .max(30)
    .meta({ description: "RFC 3339. The URLs are refused from then on.", format: "date-time" }),
  size: z.int().min(0).meta({ description: "In bytes.", format: "int64" }),
  etag: text(100, "Of the object, in quotes.").optional(),
  content_type: text(200, "Media type of the object.").optional(),
  filename: text(255, "The name that a browser stores the file under."),
});

export const batchAnswer = z.strictObject({
  results: z
    .array(
      z.strictObject({
        job_id: text(256, "As it was asked for."),
        download: download.optional(),
        problem: problem.optional().meta({ description: "Why there is no download." }),
      }),
    )
    .max(100),
});
