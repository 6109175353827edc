import { errors, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from "jose";

import { ExpiringCache } from "../expiring-cache.ts";
import { Problem, tokenInvalid, tokenMissing, unavailable } from "../problems.ts";
import { pseudonym } from "../signing/issuance.ts";

/**
 * Signature algorithms that may be configured. Asymmetric ones only: with them a verifier can't be made to take
 * a public key for a shared secret (RFC 8725, section 3.1).
 */
export const supportedAlgorithms: readonly string[] =
  "ES256 ES384 ES512 EdDSA Ed25519 PS256 PS384 PS512 RS256 RS384 RS512".split(" ");

/** What a token must be. */
export interface TokenRules {
  /** Exact `iss`. */
  issuer: string;
  /** One of the token's `aud`. */
  audience: string;
  algorithms: readonly string[];
  /** The issuer's keys. The token's own `jwk`, `jku`, `x5u` and `x5c` are never looked at. */
  keys: JWTVerifyGetKey;
  /** Whose bearer may read every job's result: a claim that is this value, or a list with it. @default no administrators */
  admin?: { claim: string; value: string } | undefined;
  /** In milliseconds. @default Date.now */
  now?: () => number;
}

/** An authenticated user. */
export interface User {
  /** The token's `sub`. */
  subject: string;
  /** What URLs call the user. */
  pseudonym: string;
  /** Whether the token carries the admin claim. */
  admin: boolean;
}

/** Authenticates users by their tokens. */
export interface Tokens {
  /**
   * The user that an Authorization header is of.
   *
   * @throws Problem: 401 for the token, 503 when the issuer's keys are unavailable
   */
  verify: (authorization: string | undefined) => Promise<User>;
  /** Empties the cache of verified tokens, because keys were withdrawn. */
  invalidate: () => void;
}

/** Clocks of issuer and API may differ by so many seconds. */
const clockToleranceSeconds = 5;

/** A verified token isn't verified again for so long, in milliseconds, and never past its `exp`. */
export const tokenCacheMs = 30_000;

/** Verified tokens cached at once, about 1 KiB each. */
const MAX_TOKENS = 2000;

/** Longer tokens aren't looked at; Node takes no header of more than 16 KiB anyway. */
const MAX_TOKEN_CHARACTERS = 8192;

/**
 * Checks access tokens by RFC 9068 with the rules of RFC 8725.
 *
 * `typ` must be `at+jwt` (or `application/at+jwt`), as RFC 9068, section 4, demands of a resource server: an ID
 * token of the same issuer, of `typ` JWT, is signed by the same keys and must not open anything.
 *
 * Verified tokens are cached by the whole header, so that no two can be confused.
 */
export function createTokens(rules: TokenRules): Tokens {
  const { issuer, audience, algorithms, keys, admin, now = Date.now } = rules;
  const cache = new ExpiringCache<User>(MAX_TOKENS, now);
  const isAdmin = (claims: JWTPayload): boolean => {
    const claim = admin && claims[admin.claim];
    return (
      claim !== undefined &&
      (claim === admin?.value || (Array.isArray(claim) && claim.includes(admin?.value)))
    );
  };
  const findKey: JWTVerifyGetKey = async (header, token) => {
    try {
      return await keys(header, token);
    } catch (error) {
      const fromToken =
        error instanceof errors.JWKSNoMatchingKey ||
        error instanceof errors.JWKSMultipleMatchingKeys ||
        error instanceof errors.JOSENotSupported;
      throw fromToken ? error : unavailable(toError(error));
    }
  };

  return {
    async verify(authorization) {
      if (authorization === undefined) throw tokenMissing();
      const cached = cache.get(authorization);
      if (cached !== undefined) return cached;
      const token =
        authorization.length > MAX_TOKEN_CHARACTERS
          ? undefined
          : /^Bearer +([\w.~+/-]+=*)$/i.exec(authorization)?.[1];
      if (token === undefined) throw tokenInvalid(new Error("not a bearer token"));
      const began = now();
      try {
        const { payload } = await jwtVerify(token, findKey, {
          algorithms: [...algorithms],
          issuer,
          audience,
          typ: "at+jwt",
          requiredClaims: ["exp", "sub"],
          clockTolerance: clockToleranceSeconds,
          currentDate: new Date(began),
        });
        const { sub: subject, exp = 0 } = payload;
        if (typeof subject !== "string" || subject === "") throw new errors.JWTInvalid("empty sub");
        const user = { subject, pseudonym: pseudonym(issuer, subject), admin: isAdmin(payload) };
        const end = (exp + clockToleranceSeconds) * 1000;
        cache.set(authorization, user, Math.min(began + tokenCacheMs, end));
        return user;
      } catch (error) {
        throw error instanceof Problem ? error : tokenInvalid(toError(error));
      }
    },

    invalidate: () => cache.clear(),
  };
}

const toError = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)));
