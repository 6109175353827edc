import "reflect-metadata";

import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  type KeyObject,
  type webcrypto,
} from "node:crypto";

import * as x509 from "@peculiar/x509";
import { z } from "zod";

import { resourceType, type Provider } from "./provider.ts";
import type { JsonObject } from "./wire.ts";

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

/** Of the official inputs, `privateKeyPemWo` and its like are not known: nothing is write-only here. */
const requestFields = {
  subject: subjectSchema.optional(),
  dnsNames: z.array(z.string()).optional(),
  ipAddresses: z.array(z.string()).optional(),
  uris: z.array(z.string()).optional(),
  privateKeyPem: z.string(),
};

const validityFields = {
  validityPeriodHours: z.int().min(0),
  earlyRenewalHours: z.int().min(0).default(0),
  allowedUses: z.array(z.string()),
  isCaCertificate: z.boolean().default(false),
  maxPathLength: z.int().min(-1).optional(), // -1 as absent: no bound
  setSubjectKeyId: z.boolean().default(false),
};

const keyInputs = z.object({
  algorithm: z.enum(["ECDSA", "RSA", "ED25519"]),
  ecdsaCurve: z.enum(["P224", "P256", "P384", "P521"]).default("P224"),
  rsaBits: z.int().min(1024).default(2048),
});
const requestInputs = z.object(requestFields);
const selfSignedInputs = z.object({
  ...requestFields,
  ...validityFields,
  setAuthorityKeyId: z.boolean().default(false),
});
const locallySignedInputs = z.object({
  ...validityFields,
  certRequestPem: z.string(),
  caCertPem: z.string(),
  caPrivateKeyPem: z.string(),
});
const renewalSchema = z.looseObject({ validityEndTime: z.coerce.date() });

const certificateOutputs = ["certPem", "readyForRenewal", "validityStartTime", "validityEndTime"];

/** The one input of a certificate that changes in place. */
const withoutRenewal = (inputs: z.ZodObject): string[] =>
  Object.keys(inputs.shape).filter((name) => name !== "earlyRenewalHours");

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
  throw new Error(
    "the private key is of a kind that the sandbox's stand-in can't sign with (it can with RSA, ED25519, P256, P384 and P521)",
  );
}

function subjectName(subject: z.infer<typeof subjectSchema> = {}): x509.JsonName {
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

function alternativeNames({
  dnsNames = [],
  ipAddresses = [],
  uris = [],
}: z.infer<typeof requestInputs>): x509.Extension[] {
  const names: x509.JsonGeneralNames = [
    ...dnsNames.map((value) => ({ type: "dns" as const, value })),
    ...ipAddresses.map((value) => ({ type: "ip" as const, value })),
    ...uris.map((value) => ({ type: "url" as const, value })),
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
    else throw new Error(`allowedUses holds "${use}", which is not a known use`);
  }
  return [
    ...(flags === 0 ? [] : [new x509.KeyUsagesExtension(flags, true)]),
    ...(extended.length === 0 ? [] : [new x509.ExtendedKeyUsageExtension(extended)]),
  ];
}

interface CertificateOrder {
  readonly settings: z.infer<z.ZodObject<typeof validityFields>>;
  readonly subject: x509.JsonName | x509.Name;
  readonly names: readonly x509.Extension[];
  readonly publicKey: x509.PublicKey | webcrypto.CryptoKey;
  /** Absent for a certificate that signs itself. */
  readonly issuer?: x509.X509Certificate;
  readonly key: SigningKey;
  /** Of a certificate that signs itself; any other names its issuer's key if that has an id. */
  readonly setAuthorityKeyId?: boolean;
}

async function issueCertificate(order: CertificateOrder): Promise<{ id: string; outputs: JsonObject }> {
  const { settings, subject, names, publicKey, issuer, key } = order;
  const notBefore = new Date(Math.floor(Date.now() / 1000) * 1000); // certificates hold whole seconds
  const notAfter = new Date(notBefore.getTime() + settings.validityPeriodHours * hour);
  const pathLength = settings.maxPathLength === -1 ? undefined : settings.maxPathLength;
  const extensions: x509.Extension[] = [
    new x509.BasicConstraintsExtension(settings.isCaCertificate, pathLength, true),
    ...usageExtensions(settings.allowedUses),
    ...names,
  ];
  if (settings.isCaCertificate || settings.setSubjectKeyId) {
    extensions.push(await x509.SubjectKeyIdentifierExtension.create(publicKey));
  }
  if (order.setAuthorityKeyId === true) {
    extensions.push(await x509.AuthorityKeyIdentifierExtension.create(publicKey));
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
    id: BigInt(`0x${serial.toString("hex")}`).toString(),
    outputs: {
      certPem: `${certificate.toString("pem")}\n`,
      validityStartTime: notBefore.toISOString(),
      validityEndTime: notAfter.toISOString(),
      readyForRenewal: false,
    },
  };
}

const privateKey = resourceType({
  inputs: keyInputs,
  computed: [
    "privateKeyPem",
    "privateKeyPemPkcs8",
    "publicKeyPem",
    "publicKeyOpenssh",
    "publicKeyFingerprintMd5",
    "publicKeyFingerprintSha256",
  ],
  secrets: ["privateKeyPem", "privateKeyPemPkcs8"],
  replaceOnChange: Object.keys(keyInputs.shape),
  create: ({ algorithm, ecdsaCurve, rsaBits }) => {
    const keys =
      algorithm === "RSA"
        ? generateKeyPairSync("rsa", { modulusLength: rsaBits })
        : algorithm === "ECDSA"
          ? generateKeyPairSync("ec", {
              namedCurve: ecdsaCurve.replace("P", "P-").replace("P-224", "secp224r1"),
            })
          : generateKeyPairSync("ed25519");
    const traditional = { RSA: "pkcs1", ECDSA: "sec1", ED25519: "pkcs8" } as const;
    const publicKeyPem = keys.publicKey.export({ type: "spki", format: "pem" }).toString();
    return {
      id: fingerprint(publicKeyPem),
      outputs: {
        privateKeyPem: keys.privateKey.export({ type: traditional[algorithm], format: "pem" }).toString(),
        privateKeyPemPkcs8: keys.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
        publicKeyPem,
        ...sshForms(keys.publicKey),
      },
    };
  },
});

const certRequest = resourceType({
  inputs: requestInputs,
  computed: ["certRequestPem", "keyAlgorithm"],
  secrets: ["privateKeyPem"],
  replaceOnChange: Object.keys(requestInputs.shape),
  create: async (settings) => {
    const key = signingKey(settings.privateKeyPem);
    const request = await x509.Pkcs10CertificateRequestGenerator.create({
      name: subjectName(settings.subject),
      keys: key.keys,
      signingAlgorithm: key.signingAlgorithm,
      extensions: alternativeNames(settings),
    });
    const certRequestPem = `${request.toString("pem")}\n`;
    return { id: fingerprint(certRequestPem), outputs: { certRequestPem, keyAlgorithm: key.algorithm } };
  },
});

const selfSignedCert = resourceType({
  inputs: selfSignedInputs,
  computed: [...certificateOutputs, "keyAlgorithm"],
  secrets: ["privateKeyPem"],
  replaceOnChange: withoutRenewal(selfSignedInputs),
  expires: renewal,
  read: readCertificate,
  create: async (settings) => {
    const key = signingKey(settings.privateKeyPem);
    const { id, outputs } = await issueCertificate({
      settings,
      subject: subjectName(settings.subject),
      names: alternativeNames(settings),
      publicKey: key.keys.publicKey,
      key,
      setAuthorityKeyId: settings.setAuthorityKeyId,
    });
    return { id, outputs: { ...outputs, keyAlgorithm: key.algorithm } };
  },
});

const locallySignedCert = resourceType({
  inputs: locallySignedInputs,
  computed: [...certificateOutputs, "caKeyAlgorithm"],
  secrets: ["caPrivateKeyPem"],
  replaceOnChange: withoutRenewal(locallySignedInputs),
  expires: renewal,
  read: readCertificate,
  create: async (settings) => {
    const request = new x509.Pkcs10CertificateRequest(settings.certRequestPem);
    if (!(await request.verify())) throw new Error("certRequestPem is not signed by its own key");
    const key = signingKey(settings.caPrivateKeyPem);
    const { id, outputs } = await issueCertificate({
      settings,
      subject: request.subjectName,
      names: request.getExtensions(subjectAlternativeName),
      publicKey: request.publicKey,
      issuer: new x509.X509Certificate(settings.caCertPem),
      key,
    });
    return { id, outputs: { ...outputs, caKeyAlgorithm: key.algorithm } };
  },
});

/**
 * Keys, requests and certificates as the official provider (terraform-provider-tls 4) has them. One output is not made,
 * `privateKeyOpenssh` of PrivateKey.
 */
export const tlsProvider: Provider<undefined> = {
  name: "tls",
  settings: z.object({}),
  connect: () => undefined,
  types: {
    "tls:index/privateKey:PrivateKey": privateKey,
    "tls:index/certRequest:CertRequest": certRequest,
    "tls:index/selfSignedCert:SelfSignedCert": selfSignedCert,
    "tls:index/locallySignedCert:LocallySignedCert": locallySignedCert,
  },
};

/** A certificate within `earlyRenewalHours` of its end is to be made anew by a plain `up`. */
function renewal(
  state: JsonObject,
  { earlyRenewalHours }: { earlyRenewalHours: number },
): string | undefined {
  const { validityEndTime } = renewalSchema.parse(state);
  const renewFrom = validityEndTime.getTime() - earlyRenewalHours * hour;
  return renewFrom <= Date.now() ? "readyForRenewal" : undefined;
}

/** Nobody but the state has the certificate; what a refresh may find is that its time has come. */
function readCertificate(id: string, state: JsonObject): { id: string; outputs: JsonObject } {
  if (!("certPem" in state)) throw new Error("a certificate can't be imported");
  const earlyRenewalHours = Number(state["earlyRenewalHours"] ?? 0);
  return { id, outputs: { readyForRenewal: renewal(state, { earlyRenewalHours }) !== undefined } };
}

/** The official provider's ids of keys and requests. */
function fingerprint(pem: string): string {
  return createHash("sha1").update(pem.trim()).digest("hex");
}

/** A public key's forms for SSH, which has no word for P-224: then they are empty. Source: RFC 4253, 5656 and 8709. */
function sshForms(key: KeyObject): JsonObject {
  if (key.asymmetricKeyDetails?.namedCurve === "secp224r1") {
    return { publicKeyOpenssh: "", publicKeyFingerprintMd5: "", publicKeyFingerprintSha256: "" };
  }
  const jwk = key.export({ format: "jwk" });
  const bytes = (text = "") => Buffer.from(text, "base64url");
  const integer = (value: Buffer) =>
    (value[0] ?? 0) & 0x80 ? Buffer.concat([Buffer.from([0]), value]) : value;
  const fields: Readonly<Record<string, Buffer[]>> = {
    OKP: [Buffer.from("ssh-ed25519"), bytes(jwk.x)],
    RSA: [Buffer.from("ssh-rsa"), integer(bytes(jwk.e)), integer(bytes(jwk.n))],
    EC: [
      Buffer.from(`ecdsa-sha2-nistp${jwk.crv?.slice(2) ?? ""}`),
      Buffer.from(`nistp${jwk.crv?.slice(2) ?? ""}`),
      Buffer.concat([Buffer.from([4]), bytes(jwk.x), bytes(jwk.y)]),
    ],
  };
  const [name, ...rest] = fields[jwk.kty ?? ""] ?? [];
  const blob = Buffer.concat(
    [name ?? Buffer.alloc(0), ...rest].flatMap((field) => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(field.length);
      return [length, field];
    }),
  );
  const md5 = createHash("md5").update(blob).digest("hex");
  return {
    publicKeyOpenssh: `${name?.toString() ?? ""} ${blob.toString("base64")}\n`,
    publicKeyFingerprintMd5: md5.replaceAll(/..(?!$)/g, "$&:"),
    publicKeyFingerprintSha256: `SHA256:${createHash("sha256").update(blob).digest("base64").replace(/=+$/, "")}`,
  };
}
