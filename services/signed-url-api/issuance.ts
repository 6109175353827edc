import { createHash, randomUUID } from "node:crypto";

/**
 * Names a URL and its user inside the URL, under the signature, so that the audit entry of each download says
 * whose URL it was.
 *
 * The user stands there as a pseudonym: a `sub` may be an e-mail address, and URLs end up in histories, proxies and
 * bug reports. It is a plain hash on purpose. An auditor finds the user by hashing the names in the job's
 * manifest, without any secret; it hides a name from reading, not from a guess.
 */
export interface Issuance {
  /** Names this URL. */
  "x-geocrop-issuance": string;
  /** Names the user. */
  "x-geocrop-subject": string;
}

/** @param subject - the token's `sub`, unique within the issuer */
export function newIssuance(issuer: string, subject: string): Issuance {
  return {
    "x-geocrop-issuance": randomUUID(),
    "x-geocrop-subject": pseudonym(issuer, subject),
  };
}

/** 128 bits of SHA-256 over issuer and subject, in base64url. */
export function pseudonym(issuer: string, subject: string): string {
  return createHash("sha256")
    .update(JSON.stringify([issuer, subject]))
    .digest("base64url")
    .slice(0, 22);
}
