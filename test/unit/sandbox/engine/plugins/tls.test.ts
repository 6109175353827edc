import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { connect as connectTls, createServer } from "node:tls";

import { afterAll, afterEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";

import { tlsProvider } from "../../../../../sandbox/engine/plugins/tls.ts";
import type { JsonObject } from "../../../../../sandbox/engine/plugins/wire.ts";
import { connect, declaredBySdk } from "./plugin-client.ts";

const privateKey = "tls:index/privateKey:PrivateKey";
const certRequest = "tls:index/certRequest:CertRequest";
const selfSignedCert = "tls:index/selfSignedCert:SelfSignedCert";
const locallySignedCert = "tls:index/locallySignedCert:LocallySignedCert";

const plugin = await connect(tlsProvider);
await plugin.configure({ version: "5.6.1" });

const pems = z.object({
  privateKeyPem: z.string().default(""),
  privateKeyPemPkcs8: z.string().default(""),
  publicKeyPem: z.string().default(""),
  certRequestPem: z.string().default(""),
  certPem: z.string().default(""),
});

async function make(type: string, inputs: JsonObject): Promise<z.infer<typeof pems>> {
  const { values } = await plugin.create(type, inputs);
  return pems.parse(values);
}

async function authority(algorithm = "ECDSA") {
  const { privateKeyPem } = await make(privateKey, { algorithm, ecdsaCurve: "P256" });
  const inputs = {
    privateKeyPem,
    subject: { commonName: "Test CA", organization: "geocrop" },
    isCaCertificate: true,
    setSubjectKeyId: true,
    validityPeriodHours: 48,
    earlyRenewalHours: 8,
    allowedUses: ["cert_signing", "crl_signing"],
  };
  const { id, values, secret } = await plugin.create(selfSignedCert, inputs);
  return { id, inputs, values, secret, privateKeyPem, certPem: pems.parse(values).certPem };
}

async function serverCertificate(algorithm = "ECDSA") {
  const ca = await authority(algorithm);
  const { privateKeyPem } = await make(privateKey, { algorithm, ecdsaCurve: "P256" });
  const { certRequestPem } = await make(certRequest, {
    privateKeyPem,
    subject: { commonName: "minio" },
    dnsNames: ["localhost", "*.minio-headless.geocrop.svc.cluster.local"],
    ipAddresses: ["127.0.0.1", "::1"],
  });
  const { certPem } = await make(locallySignedCert, {
    certRequestPem,
    caCertPem: ca.certPem,
    caPrivateKeyPem: ca.privateKeyPem,
    validityPeriodHours: 24,
    allowedUses: ["digital_signature", "key_encipherment", "server_auth"],
  });
  return { ca: ca.certPem, certPem, privateKeyPem };
}

afterEach(() => {
  vi.useRealTimers();
});
afterAll(plugin.close);

describe("the tls stand-in has what the official SDK declares", () => {
  const writeOnly = (name: string) => /Wo(?:Version)?$/.test(name);

  test.each([
    [privateKey, "privateKey", ["privateKeyOpenssh"]],
    [certRequest, "certRequest", []],
    [selfSignedCert, "selfSignedCert", []],
    [locallySignedCert, "locallySignedCert", []],
  ])("for %s, without what is write-only", (token, file, notMade: readonly string[]) => {
    const official = declaredBySdk("tls", file);
    const type = tlsProvider.types[token];
    const made = (names: readonly string[]) =>
      names.filter((name) => !notMade.includes(name) && !writeOnly(name)).toSorted();
    expect(official.inputs.length).toBeGreaterThan(2);
    expect(Object.keys(type?.inputs.shape ?? {}).toSorted()).toEqual(made(official.inputs));
    expect(type?.computed.toSorted()).toEqual(made(official.computed));
    expect(type?.secrets?.toSorted()).toEqual(made(official.secrets));
    const replacing = made(official.inputs).filter((name) => name !== "earlyRenewalHours");
    expect(type?.replaceOnChange.toSorted()).toEqual(replacing);
  });
});

describe("a private key", () => {
  test.each([
    [{ algorithm: "ECDSA", ecdsaCurve: "P256" }, "BEGIN EC PRIVATE KEY", "ec"],
    [{ algorithm: "ECDSA", ecdsaCurve: "P384" }, "BEGIN EC PRIVATE KEY", "ec"],
    [{ algorithm: "ECDSA" }, "BEGIN EC PRIVATE KEY", "ec"],
    [{ algorithm: "RSA", rsaBits: 2048 }, "BEGIN RSA PRIVATE KEY", "rsa"],
    [{ algorithm: "ED25519" }, "BEGIN PRIVATE KEY", "ed25519"],
  ])("%j is of the form that the official provider gives", async (inputs, header, kind) => {
    const made = await make(privateKey, inputs);
    expect(made.privateKeyPem).toContain(header);
    const key = createPrivateKey(made.privateKeyPem);
    expect(key.asymmetricKeyType).toBe(kind);
    expect(createPrivateKey(made.privateKeyPemPkcs8).equals(key)).toBe(true);
    expect(createPublicKey(made.publicKeyPem).equals(createPublicKey(key))).toBe(true);
  });

  test("is a secret, and unknown in a preview", async () => {
    const made = await plugin.create(privateKey, { algorithm: "ED25519" });
    expect([...made.secret].toSorted()).toEqual(["privateKeyPem", "privateKeyPemPkcs8"]);
    expect(made.id).toMatch(/^[0-9a-f]{40}$/);
    expect(made.values["publicKeyOpenssh"]).toMatch(/^ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI\S{43}\n$/);
    const preview = await plugin.create(privateKey, { algorithm: "ED25519" }, { isPreview: true });
    expect([...preview.unknown]).toContain("privateKeyPem");
  });
});

describe("a certificate", () => {
  test.each(["ECDSA", "RSA", "ED25519"])(
    "of %s serves TLS to who trusts its authority",
    async (algorithm) => {
      const { ca, certPem, privateKeyPem } = await serverCertificate(algorithm);
      const server = createServer({ cert: certPem, key: privateKeyPem }, (socket) => socket.end());
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const address = z.object({ port: z.number() }).parse(server.address());
      const authorized = await new Promise((resolve, reject) => {
        const socket = connectTls(
          { port: address.port, host: "127.0.0.1", servername: "localhost", ca },
          () => {
            resolve(socket.authorized);
            socket.destroy();
          },
        );
        socket.on("error", reject);
      });
      server.close();
      expect(authorized).toBe(true);
    },
  );

  test("holds what was asked for, and names its issuer's key", async () => {
    const { ca, certPem } = await serverCertificate();
    const [issuer, certificate] = [new X509Certificate(ca), new X509Certificate(certPem)];
    expect(certificate.checkIssued(issuer)).toBe(true);
    expect(certificate.verify(issuer.publicKey)).toBe(true);
    expect([issuer.ca, certificate.ca]).toEqual([true, false]);
    expect(certificate.subject).toBe("CN=minio");
    expect(issuer.subject).toBe("O=geocrop\nCN=Test CA");
    expect(certificate.subjectAltName).toBe(
      "DNS:localhost, DNS:*.minio-headless.geocrop.svc.cluster.local, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1",
    );
    expect(certificate.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1"]);
    const hours = (certificate.validToDate.getTime() - certificate.validFromDate.getTime()) / 3_600_000;
    expect(hours).toBe(24);
  });

  test("has its serial number as its id, and its key as a secret", async () => {
    const { id, certPem, secret } = await authority();
    expect(BigInt(`0x${new X509Certificate(certPem).serialNumber}`).toString()).toBe(id);
    expect([...secret]).toEqual(["privateKeyPem"]);
  });

  test("is made of known uses only, and of a request that its own key signed", async () => {
    const { inputs, privateKeyPem, certPem } = await authority();
    await expect(plugin.create(selfSignedCert, { ...inputs, allowedUses: ["sining"] })).rejects.toThrow(
      '"sining"',
    );
    const { certRequestPem } = await make(certRequest, { privateKeyPem });
    const body = certRequestPem.split("\n");
    body[2] = (body[2] ?? "").split("").toReversed().join("");
    const sign = plugin.create(locallySignedCert, {
      certRequestPem: body.join("\n"),
      caCertPem: certPem,
      caPrivateKeyPem: privateKeyPem,
      validityPeriodHours: 1,
      allowedUses: [],
    });
    await expect(sign).rejects.toThrow("UNKNOWN");
  });

  test("no error quotes its key", async () => {
    const { inputs } = await authority();
    const wrong = "not-a-pem-but-a-secret";
    const error: unknown = await plugin
      .create(selfSignedCert, { ...inputs, privateKeyPem: wrong }, { secret: ["privateKeyPem"] })
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(Error);
    expect(String(error)).not.toContain(wrong);
  });
});

describe("a certificate near its end", () => {
  test("is kept until earlyRenewalHours before it, then replaced", async () => {
    const { values, inputs } = await authority();
    await expect(plugin.diff(selfSignedCert, values, inputs, inputs)).resolves.toEqual([]);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 39.9 * 3_600_000 });
    await expect(plugin.diff(selfSignedCert, values, inputs, inputs)).resolves.toEqual([]);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 0.2 * 3_600_000 });
    await expect(plugin.diff(selfSignedCert, values, inputs, inputs)).resolves.toEqual(["+-readyForRenewal"]);
  });

  test("is said to be ready for renewal by a refresh", async () => {
    const { id, values, inputs } = await authority();
    expect((await plugin.read(selfSignedCert, id, values, inputs)).values["readyForRenewal"]).toBe(false);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 41 * 3_600_000 });
    expect((await plugin.read(selfSignedCert, id, values, inputs)).values["readyForRenewal"]).toBe(true);
  });

  test("changes in place when only earlyRenewalHours does, and in no other way", async () => {
    const { id, values, inputs } = await authority();
    const earlier = { ...inputs, earlyRenewalHours: 9 };
    await expect(plugin.diff(selfSignedCert, values, inputs, earlier)).resolves.toEqual([
      "earlyRenewalHours",
    ]);
    await expect(plugin.update(selfSignedCert, id, values, earlier)).resolves.toEqual({
      ...values,
      earlyRenewalHours: 9,
    });
    const longer = { ...inputs, validityPeriodHours: 49 };
    await expect(plugin.diff(selfSignedCert, values, inputs, longer)).resolves.toEqual([
      "+-validityPeriodHours",
    ]);
  });
});

test("the tls stand-in refuses inputs that it does not know, nested ones too", async () => {
  const problems = await plugin.check(certRequest, {
    privateKeyPemWo: "x",
    privateKeyPem: "x",
    subject: { commonname: "minio" },
  });
  expect(problems).toEqual([
    'privateKeyPemWo: the sandbox\'s stand-in does not know the input "privateKeyPemWo"',
    'subject: Unrecognized key: "commonname"',
  ]);
});
