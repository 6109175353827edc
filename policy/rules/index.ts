import type { Rule } from "../rule.ts";
import { expiryBounds, iamNoWildcard, tlsFloor } from "./access.ts";
import { bucketPrivate, bucketQuota, bucketVersioned, dataProtected } from "./buckets.ts";
import { defaultDeny, minioClosed, minioNotExposed } from "./network.ts";
import { imageDigest, memoryBounded, minioImageFloor, noSecretInEnv, podSecurity } from "./pods.ts";

/** What every stack of geocrop-storage keeps to. */
export const rules: readonly Rule[] = [
  bucketPrivate,
  bucketQuota,
  bucketVersioned,
  dataProtected,
  imageDigest,
  minioImageFloor,
  podSecurity,
  noSecretInEnv,
  memoryBounded,
  defaultDeny,
  minioClosed,
  minioNotExposed,
  tlsFloor,
  expiryBounds,
  iamNoWildcard,
];
