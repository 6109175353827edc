import { errors, jwtVerify, type JWTVerifyGetKey } from "jose";

import { Problem, tokenInvalid, tokenMissing, unavailable } from "./problems.ts";

/**
 * Signature algorithms that may be configured. Asymmetric ones only: with them a verifier can't be made to take
 * a public key for a shared secret (RFC 8725, section 3.1).
 */
export const ALGORITHMS: readonly string[] =
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
}

/** The user that an Authorization header speaks for: the token's `sub`. */
export type Authenticate = (authorization: string | undefined) => Promise<string>;

/** Clocks of issuer and API may differ by so many seconds. */
const CLOCK_TOLERANCE_SECONDS = 5;

/**
 * Checks access tokens by RFC 9068 with the rules of RFC 8725.
 *
 * `typ` must be `at+jwt` (or `application/at+jwt`), as RFC 9068, section 4, demands of a resource server: an ID
 * token of the same issuer, of `typ` JWT, is signed by the same keys and must not open anything.
 *
 * @returns a function that throws a Problem: 401 for the token, 503 when the keys can't be had
 */
export function createAuthenticate(rules: TokenRules): Authenticate {
  const { issuer, audience, algorithms, keys } = rules;
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

  return async (authorization) => {
    if (authorization === undefined) throw tokenMissing();
    const token = /^Bearer +([\w.~+/-]+=*)$/i.exec(authorization)?.[1];
    if (token === undefined) throw tokenInvalid(new Error("not a bearer token"));
    try {
      const { payload } = await jwtVerify(token, findKey, {
        algorithms: [...algorithms],
        issuer,
        audience,
        typ: "at+jwt",
        requiredClaims: ["exp", "sub"],
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
      });
      if (typeof payload.sub !== "string" || payload.sub === "") throw new errors.JWTInvalid("empty sub");
      return payload.sub;
    } catch (error) {
      throw error instanceof Problem ? error : tokenInvalid(toError(error));
    }
  };
}

const toError = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)));
