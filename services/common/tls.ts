import { tls12Suites } from "../../config/names.ts";

/** OpenSSL's own three. Node gives up TLS 1.3 when a list of suites names none of them. */
const tls13Suites = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/** What every server here offers. */
export const serverTls = {
  minVersion: "TLSv1.2",
  ciphers: [...tls13Suites, ...tls12Suites].join(":"),
} as const;
