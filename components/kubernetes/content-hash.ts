import { createHash } from "node:crypto";

/** A short digest for pod annotations: pods restart when what they read only at their start changes. */
export function contentHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}
