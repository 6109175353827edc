import "./reflect.ts";

import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  type KeyObject,
  type webcrypto,
} from "node:crypto";

import * as x509 from "@peculiar/x509";
import { z } from "zod";

import { GeneratedValues, type Maker } from "./generated.ts";
import { parseInputs, type JsonObject } from "./values.ts";

const hour = 3_600_000;
const subjectAlternativeName = "2.5.29.17";

const subjectSchema = z.strictObject({
  commonName: z.string().optional(),
  country: z.string().optional(),
  emailAddress: z.string().optional(),
  locality: z.string().optional(),
  organization: z.string().optional(),
  organizationalUnit: z.string().optional(),
  postalCode: z.string().optional(),
  province: z.string().optional(),
  serialNumber: z.string().optional(),
  streetAddresses: z.array(z.string()).optional(),
});

const requestFields = {
  subject: subjectSchema.default({}),
  dnsNames: z.array(z.string()).default([]),
  ipAddresses: z.array(z.string()).default([]),
  uris: z.array(z.string()).default([]),
  privateKeyPem: z.string(),
};

const validityFields = {
  validityPeriodHours: z.number().min(0),
  earlyRenewalHours: z.number().min(0).default(0),
  allowedUses: z.array(z.string()),
  isCaCertificate: z.boolean().default(false),
  maxPathLength: z.int().optional(),
  setSubjectKeyId: z.boolean().default(false),
};

const keySchema = z.strictObject({
  algorithm: z.enum(["ECDSA", "RSA", "ED25519"]),
  ecdsaCurve: z.enum(["P256", "P384", "P521"]).default("P256"), // the provider's own default, P224, no browser takes
  rsaBits: z.int().min(2048).default(2048),
});
const renewalSchema = z.looseObject({ validityEndTime: z.coerce.date(), earlyRenewalHours: z.number() });
const requestSchema = z.strictObject(requestFields);
const selfSignedSchema = z.strictObject({
  ...requestFields,
  ...validityFields,
  setAuthorityKeyId: z.boolean().default(false),
});
const locallySignedSchema = z.strictObject({
  ...validityFields,
  certRequestPem: z.string(),
  caCertPem: z.string(),
  caPrivateKeyPem: z.string(),
});

/** `allowedUses` of the tls provider -> key usage. */
const keyUsages: Readonly<Record<string, number>> = {
  digital_signature: x509.KeyUsageFlags.digitalSignature,
  content_commitment: x509.KeyUsageFlags.nonRepudiation,
  key_encipherment: x509.KeyUsageFlags.keyEncipherment,
  data_encipherment: x509.KeyUsageFlags.dataEncipherment,
  key_agreement: x509.KeyUsageFlags.keyAgreement,
  cert_signing: x509.KeyUsageFlags.keyCertSign,
  crl_signing: x509.KeyUsageFlags.cRLSign,
  encipher_only: x509.KeyUsageFlags.encipherOnly,
  decipher_only: x509.KeyUsageFlags.decipherOnly,
};

/** `allowedUses` of the tls provider -> extended key usage. */
const extendedKeyUsages: Readonly<Record<string, string>> = {
  any_extended: "2.5.29.37.0",
  server_auth: x509.ExtendedKeyUsage.serverAuth,
  client_auth: x509.ExtendedKeyUsage.clientAuth,
  code_signing: x509.ExtendedKeyUsage.codeSigning,
  email_protection: x509.ExtendedKeyUsage.emailProtection,
  timestamping: x509.ExtendedKeyUsage.timeStamping,
  ocsp_signing: x509.ExtendedKeyUsage.ocspSigning,
};

const curves: Readonly<Record<string, { name: "P-256" | "P-384" | "P-521"; hash: string }>> = {
  prime256v1: { name: "P-256", hash: "SHA-256" },
  secp384r1: { name: "P-384", hash: "SHA-384" },
  secp521r1: { name: "P-521", hash: "SHA-512" },
};

interface SigningKey {
  readonly algorithm: "ECDSA" | "RSA" | "ED25519";
  readonly keys: webcrypto.CryptoKeyPair;
  readonly signingAlgorithm: { name: string; hash?: string };
}

function signingKey(privateKeyPem: string): SigningKey {
  const privateKey = createPrivateKey(privateKeyPem);
  const publicKey = createPublicKey(privateKey);
  const pair = (algorithm: Parameters<KeyObject["toCryptoKey"]>[0]): webcrypto.CryptoKeyPair => ({
    privateKey: privateKey.toCryptoKey(algorithm, false, ["sign"]),
    publicKey: publicKey.toCryptoKey(algorithm, true, ["verify"]),
  });
  const curve = curves[privateKey.asymmetricKeyDetails?.namedCurve ?? ""];
  if (privateKey.asymmetricKeyType === "ec" && curve !== undefined) {
    return {
      algorithm: "ECDSA",
      keys: pair({ name: "ECDSA", namedCurve: curve.name }),
      signingAlgorithm: { name: "ECDSA", hash: curve.hash },
    };
  }
  if (privateKey.asymmetricKeyType === "rsa") {
    const signingAlgorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
    return { algorithm: "RSA", keys: pair(signingAlgorithm), signingAlgorithm };
  }
  if (privateKey.asymmetricKeyType === "ed25519") {
    return {
      algorithm: "ED25519",
      keys: pair({ name: "Ed25519" }),
      signingAlgorithm: { name: "Ed25519" },
    };
  }
  throw new Error("the private key is of a kind that the embedded deployer does not know");
}

function subjectName(subject: z.infer<typeof subjectSchema>): x509.JsonName {
  const fields: [string, string | readonly string[] | undefined][] = [
    ["C", subject.country],
    ["ST", subject.province],
    ["L", subject.locality],
    ["2.5.4.9", subject.streetAddresses],
    ["2.5.4.17", subject.postalCode],
    ["O", subject.organization],
    ["OU", subject.organizationalUnit],
    ["CN", subject.commonName],
    ["2.5.4.5", subject.serialNumber],
    ["E", subject.emailAddress],
  ];
  return fields.flatMap(([type, value]) => (value === undefined ? [] : [{ [type]: [value].flat() }]));
}

function alternativeNames(inputs: z.infer<typeof requestSchema>): x509.Extension[] {
  const names: x509.JsonGeneralNames = [
    ...inputs.dnsNames.map((value) => ({ type: "dns" as const, value })),
    ...inputs.ipAddresses.map((value) => ({ type: "ip" as const, value })),
    ...inputs.uris.map((value) => ({ type: "url" as const, value })),
  ];
  return names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)];
}

function usageExtensions(allowedUses: readonly string[]): x509.Extension[] {
  let flags = 0;
  const extended: string[] = [];
  for (const use of allowedUses) {
    const flag = keyUsages[use];
    const purpose = extendedKeyUsages[use];
    if (flag !== undefined) flags |= flag;
    else if (purpose !== undefined) extended.push(purpose);
    else throw new Error(`allowedUses holds "${use}", which the embedded deployer does not know`);
  }
  return [
    ...(flags === 0 ? [] : [new x509.KeyUsagesExtension(flags, true)]),
    ...(extended.length === 0 ? [] : [new x509.ExtendedKeyUsageExtension(extended)]),
  ];
}

interface Issue {
  readonly settings: z.infer<z.ZodObject<typeof validityFields>>;
  readonly subject: x509.JsonName | x509.Name;
  readonly names: readonly x509.Extension[];
  readonly publicKey: x509.PublicKey | webcrypto.CryptoKey;
  /** Absent for a certificate that signs itself. */
  readonly issuer?: x509.X509Certificate;
  readonly key: SigningKey;
}

async function issue({ settings, subject, names, publicKey, issuer, key }: Issue): Promise<JsonObject> {
  const notBefore = new Date(Math.floor(Date.now() / 1000) * 1000); // certificates hold whole seconds
  const notAfter = new Date(notBefore.getTime() + settings.validityPeriodHours * hour);
  const extensions: x509.Extension[] = [
    new x509.BasicConstraintsExtension(settings.isCaCertificate, settings.maxPathLength, true),
    ...usageExtensions(settings.allowedUses),
    ...names,
  ];
  if (settings.isCaCertificate || settings.setSubjectKeyId) {
    extensions.push(await x509.SubjectKeyIdentifierExtension.create(publicKey));
  }
  const issuerKeyId = issuer?.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId;
  if (issuerKeyId !== undefined) extensions.push(new x509.AuthorityKeyIdentifierExtension(issuerKeyId));
  const serial = randomBytes(16);
  serial.writeUInt8((serial.readUInt8(0) & 0x7f) | 0x40, 0); // positive, and of full length
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial.toString("hex"),
    subject,
    issuer: issuer?.subjectName ?? subject,
    notBefore,
    notAfter,
    publicKey,
    signingKey: key.keys.privateKey,
    signingAlgorithm: key.signingAlgorithm,
    extensions,
  });
  return {
    certPem: `${certificate.toString("pem")}\n`,
    validityStartTime: notBefore.toISOString(),
    validityEndTime: notAfter.toISOString(),
    readyForRenewal: false,
    earlyRenewalHours: settings.earlyRenewalHours,
    isCaCertificate: settings.isCaCertificate,
  };
}

const privateKey: Maker = {
  make(inputs) {
    const { algorithm, ecdsaCurve, rsaBits } = parseInputs(keySchema, inputs);
    const namedCurve = ecdsaCurve.replace("P", "P-");
    const keys =
      algorithm === "RSA"
        ? generateKeyPairSync("rsa", { modulusLength: rsaBits })
        : algorithm === "ECDSA"
          ? generateKeyPairSync("ec", { namedCurve })
          : generateKeyPairSync("ed25519");
    const pkcs8 = keys.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    const traditional = { RSA: "pkcs1", ECDSA: "sec1", ED25519: "pkcs8" } as const;
    return {
      algorithm,
      ecdsaCurve,
      rsaBits,
      privateKeyPem: keys.privateKey.export({ type: traditional[algorithm], format: "pem" }).toString(),
      privateKeyPemPkcs8: pkcs8,
      publicKeyPem: keys.publicKey.export({ type: "spki", format: "pem" }).toString(),
    };
  },
};

const certRequest: Maker = {
  async make(inputs) {
    const settings = parseInputs(requestSchema, inputs);
    const key = signingKey(settings.privateKeyPem);
    const request = await x509.Pkcs10CertificateRequestGenerator.create({
      name: subjectName(settings.subject),
      keys: key.keys,
      signingAlgorithm: key.signingAlgorithm,
      extensions: alternativeNames(settings),
    });
    return { certRequestPem: `${request.toString("pem")}\n`, keyAlgorithm: key.algorithm };
  },
};

/** A certificate is stale from `earlyRenewalHours` before its end. */
function isStale(generated: JsonObject): boolean {
  const { validityEndTime, earlyRenewalHours } = renewalSchema.parse(generated);
  return validityEndTime.getTime() - earlyRenewalHours * hour <= Date.now();
}

const selfSignedCert: Maker = {
  isStale,
  async make(inputs) {
    const settings = parseInputs(selfSignedSchema, inputs);
    const key = signingKey(settings.privateKeyPem);
    const certificate = await issue({
      settings,
      subject: subjectName(settings.subject),
      names: alternativeNames(settings),
      publicKey: key.keys.publicKey,
      key,
    });
    return { ...certificate, keyAlgorithm: key.algorithm };
  },
};

const locallySignedCert: Maker = {
  isStale,
  async make(inputs) {
    const settings = parseInputs(locallySignedSchema, inputs);
    const request = new x509.Pkcs10CertificateRequest(settings.certRequestPem);
    if (!(await request.verify())) throw new Error("certRequestPem is not signed by its own key");
    const key = signingKey(settings.caPrivateKeyPem);
    const names = request.getExtensions(subjectAlternativeName);
    const certificate = await issue({
      settings,
      subject: request.subjectName,
      names,
      publicKey: request.publicKey,
      issuer: new x509.X509Certificate(settings.caCertPem),
      key,
    });
    return { ...certificate, caKeyAlgorithm: key.algorithm };
  },
};

/** The tls provider's keys, requests and certificates. (OpenSSH forms and fingerprints are not made.) */
export function tlsValues(): GeneratedValues {
  return new GeneratedValues({
    "tls:index/privateKey:PrivateKey": privateKey,
    "tls:index/certRequest:CertRequest": certRequest,
    "tls:index/selfSignedCert:SelfSignedCert": selfSignedCert,
    "tls:index/locallySignedCert:LocallySignedCert": locallySignedCert,
  });
}
