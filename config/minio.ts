import { z } from "zod";

import { buckets } from "./buckets.ts";
import { bytesOf, gibibytes } from "./quantity.ts";
import { crossCheck, expected, quantity, resources, storageClass, wholeNumber } from "./values.ts";

/** Sizes of erasure sets here: 4 to 16 drives, one drive a pod. MinIO splits the pods evenly into such sets. */
const erasureSetSizes = Array.from({ length: 13 }, (_, index) => 16 - index);

/** The largest set size that divides the number of drives. */
const erasureSetSize = (drives: number) => erasureSetSizes.find((size) => drives % size === 0);

/** The MinIO server. */
export const minio = z.strictObject(
  {
    replicas: wholeNumber("pods")
      .min(1, "must be 1, or at least 4")
      .max(64, "must be at most 64")
      .refine((pods) => pods === 1 || erasureSetSize(pods) !== undefined, {
        error:
          "cannot be erasure coded: use 1 (no redundancy), or a number that splits into sets of 4 to 16 (4, 5, 6, 8, 12, 16, ...)",
      })
      .default(1),
    storage: quantity,
    storageClass,
    resources: resources("250m", "1Gi"),
    rootAccess: z
      .enum(["bootstrap", "off"], {
        error: "must be bootstrap (until the stack is deployed) or off (from then on)",
      })
      .default("bootstrap"),
  },
  expected("a map", "give at least {storage: <size of each pod's drive>}"),
);

/**
 * How many drives' worth of user data MinIO's default parity leaves (by set size: 1 drive EC:0, 4-5 EC:2, 6-7 EC:3, 8
 * and more EC:4; MinIO 7aac2a2, internal/config/storageclass).
 */
function usableDrives(drives: number): number {
  if (drives === 1) return 1;
  const setSize = erasureSetSize(drives) ?? drives;
  const parity = setSize >= 8 ? 4 : setSize >= 6 ? 3 : 2;
  return drives - (drives / setSize) * parity;
}

/** What the quotas allocate must be there. */
export const quotasFit = crossCheck(
  z.object({ minio, buckets }),
  ["minio", "storage"],
  ({ minio: { storage, replicas }, buckets }) => {
    const usable = bytesOf(storage) * usableDrives(replicas);
    const allocated = Object.values(buckets).reduce((sum, { quota }) => sum + bytesOf(quota), 0);
    return allocated <= usable
      ? undefined
      : `is less than the buckets' quotas together need: they allocate ${gibibytes(allocated)}, and ${gibibytes(usable)} are usable after parity: raise it or lower the quotas`;
  },
);
