import { z } from "zod";

import { requiredBuckets } from "./names.ts";
import { expected, quantity, wholeNumber } from "./values.ts";

const bucket = z.strictObject(
  {
    quota: quantity,
    noncurrentDays: wholeNumber("days")
      .min(1, "must be at least 1 day: versioned buckets count every version against their quota")
      .default(30),
    expireDays: wholeNumber("days")
      .min(1, "must be at least 1 day; leave it out to keep objects for ever")
      .optional(),
  },
  expected("a map", "give at least {quota: <size>}"),
);

/** S3's rule for bucket names, without dots, which no wildcard certificate covers. */
const bucketName = /^(?!xn--|sthree-)(?!.*-s3alias$)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/;

/** The buckets by name. */
export const buckets = z
  .record(z.string(), bucket, { error: "must map bucket names to {quota, noncurrentDays, expireDays}" })
  // Names are not checked by the record's key type: a wrong one would hide what is wrong with the other buckets.
  .superRefine(
    (value, context) => {
      for (const name of Object.keys(value).filter((name) => !bucketName.test(name))) {
        context.addIssue({
          code: "custom",
          path: [name],
          message:
            "is not a valid bucket name: use 3 to 63 lower-case letters, digits and hyphens, with a letter or digit first and last",
        });
      }
      for (const name of requiredBuckets.filter((name) => !Object.hasOwn(value, name))) {
        context.addIssue({
          code: "custom",
          path: [name],
          message: "is missing: geocrop needs this bucket, give it at least {quota: <size>}",
        });
      }
    },
    { when: ({ value }) => z.record(z.string(), z.unknown()).safeParse(value).success },
  );
