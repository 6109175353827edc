/**
 * Mozilla's "intermediate" suites for TLS 1.2, guidelines 5.8: forward secret and authenticated, without CBC. Both Node
 * and OpenSSL offer more when nobody says so.
 */
export const tls12Suites = [
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
] as const;

/** OpenSSL's own three. Node gives up TLS 1.3 when a list of suites names none of them. */
const tls13Suites = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/** What every server here offers. */
export const serverTls = {
  minVersion: "TLSv1.2",
  ciphers: [...tls13Suites, ...tls12Suites].join(":"),
} as const;
