import { z } from "zod";

import { oldestMinioRelease, sandboxRegistry } from "./names.ts";
import { expected } from "./values.ts";

const byDigest = "pin it as registry/name@sha256:<64 hex digits>";

const image = z
  .string(expected("an image", byDigest))
  .refine((value) => value.startsWith(`${sandboxRegistry}/`) || /^[^@\s]+@sha256:[0-9a-f]{64}$/.test(value), {
    error: `has no digest: ${byDigest} (a tag can be moved to another image)`,
  })
  .meta({ title: "image by digest" });

/** The day of an upstream MinIO release, where the image's name has it. */
export function minioRelease(image: string): string | undefined {
  return /RELEASE\.(\d{4}-\d{2}-\d{2})T/.exec(image)?.[1];
}

const minioImage = image.refine(
  (value) => (minioRelease(value) ?? oldestMinioRelease) >= oldestMinioRelease,
  {
    error: `is older than ${oldestMinioRelease} and vulnerable to CVE-2025-62506: use a maintained build (docs/decisions/0003-minio-image.md)`,
  },
);

/** Container images, one a server. */
export const images = z.strictObject(
  { minio: minioImage, signedUrlApi: image, downloadGateway: image, auditReceiver: image },
  expected("a map", "give minio, signedUrlApi, downloadGateway and auditReceiver (docs/configuration.md)"),
);
