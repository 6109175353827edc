import { hash } from "node:crypto";

/**
 * Names a URL and its user inside the URL, under the signature, so that the audit entry of each download says
 * whose URL it was.
 *
 * Both are plain hashes on purpose: a URL asked again is then the same URL, from any replica, and an auditor who
 * knows a name finds its URLs without any secret. A `sub` may be an e-mail address, and URLs end up in histories,
 * proxies and bug reports; a hash hides it from reading, not from a guess.
 */
export interface Issuance {
  /** Names this URL. */
  "x-geocrop-issuance": string;
  /** Names the user. */
  "x-geocrop-subject": string;
}

/** 128 bits of SHA-256, in base64url. */
const digest = (...parts: readonly unknown[]): string =>
  hash("sha256", JSON.stringify(parts), "base64url").slice(0, 22);

/** The user as URLs name him. @param subject - the token's `sub`, unique within the issuer */
export const pseudonym = (issuer: string, subject: string): string => digest(issuer, subject);

/**
 * @param user - from `pseudonym`
 * @param url - all that makes one URL differ from another: path, time of signing, life, further parameters
 */
export const issuanceOf = (user: string, ...url: readonly (string | number)[]): Issuance => ({
  "x-geocrop-issuance": digest(user, ...url),
  "x-geocrop-subject": user,
});
