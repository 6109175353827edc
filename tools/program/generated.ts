import { createECDH, createHash, createPrivateKey, createPublicKey } from "node:crypto";

import type { Json, JsonObject } from "./recording.ts";

/** A resource's made-up outputs, and which of them a provider would keep secret. */
export interface Generated {
  readonly outputs: Readonly<Record<string, string>>;
  readonly secret: readonly string[];
}

const curves: Readonly<Record<string, { openssl: string; jwk: string; bytes: number }>> = {
  P256: { openssl: "prime256v1", jwk: "P-256", bytes: 32 },
  P384: { openssl: "secp384r1", jwk: "P-384", bytes: 48 },
};

/**
 * Stand-ins for what the random and tls providers would generate. They follow from the declaration alone: the same
 * one gives the same values in every run, so that they make no noise in a comparison, and a changed one gives others,
 * which spread to whatever is made of them as new ones would. Anybody can compute them: they are never deployed.
 */
export function generatedOutputs(type: string, name: string, inputs: JsonObject): Generated {
  const digest = createHash("sha512")
    .update(JSON.stringify([type, name, inputs]))
    .digest();
  const text = digest.toString("hex").toUpperCase();
  switch (type) {
    case "random:index/randomString:RandomString":
      return { outputs: { result: `GEN${text}`.slice(0, lengthOf(inputs)) }, secret: [] };
    case "random:index/randomPassword:RandomPassword":
      return { outputs: { result: text.slice(0, lengthOf(inputs)) }, secret: ["result"] };
    case "tls:index/privateKey:PrivateKey":
      return {
        outputs: keyPair(inputs["ecdsaCurve"], digest),
        secret: ["privateKeyPem", "privateKeyOpenssh", "privateKeyPemPkcs8"],
      };
    case "tls:index/selfSignedCert:SelfSignedCert":
    case "tls:index/locallySignedCert:LocallySignedCert":
      return { outputs: { certPem: pem("CERTIFICATE", digest) }, secret: [] };
    case "tls:index/certRequest:CertRequest":
      return { outputs: { certRequestPem: pem("CERTIFICATE REQUEST", digest) }, secret: [] };
    default:
      return { outputs: {}, secret: [] };
  }
}

function lengthOf(inputs: JsonObject): number {
  return typeof inputs["length"] === "number" ? inputs["length"] : 16;
}

const pem = (label: string, content: Buffer) =>
  `-----BEGIN ${label}-----\n${content.toString("base64")}\n-----END ${label}-----\n`;

/** A real key, for programs that take it apart; of curves that are not listed, only something that looks like one. */
function keyPair(curveName: Json | undefined, seed: Buffer): Record<string, string> {
  const curve = typeof curveName === "string" ? curves[curveName] : undefined;
  if (curve === undefined) {
    return { privateKeyPem: pem("PRIVATE KEY", seed), publicKeyPem: pem("PUBLIC KEY", seed) };
  }
  // The top bit off, the number is below the order of either curve.
  const scalar = Buffer.from(seed.subarray(0, curve.bytes));
  scalar.writeUInt8(scalar.readUInt8(0) & 0x7f, 0);
  const exchange = createECDH(curve.openssl);
  exchange.setPrivateKey(scalar);
  const point = exchange.getPublicKey();
  const key = createPrivateKey({
    format: "jwk",
    key: {
      kty: "EC",
      crv: curve.jwk,
      d: scalar.toString("base64url"),
      x: point.subarray(1, 1 + curve.bytes).toString("base64url"),
      y: point.subarray(1 + curve.bytes).toString("base64url"),
    },
  });
  return {
    privateKeyPem: key.export({ type: "sec1", format: "pem" }).toString(),
    publicKeyPem: createPublicKey(key).export({ type: "spki", format: "pem" }).toString(),
  };
}
