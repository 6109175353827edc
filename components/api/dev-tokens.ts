/** The claims of the development issuer's tokens; nobody can own a `.invalid` domain (RFC 2606). */
export const devTokens = {
  issuer: "https://dev-issuer.geocrop.invalid/",
  audience: "geocrop",
  algorithm: "ES256",
  /** The Secret, and the key in it, that hold the private JWK. */
  secret: "dev-issuer",
  secretKey: "private.jwk",
} as const;
