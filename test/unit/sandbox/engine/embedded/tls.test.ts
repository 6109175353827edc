import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { connect, createServer } from "node:tls";

import { afterEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";

import type { Applied, Declared, Run } from "../../../../../sandbox/engine/embedded/monitor.ts";
import { tlsValues } from "../../../../../sandbox/engine/embedded/tls.ts";
import type { JsonObject } from "../../../../../sandbox/engine/embedded/values.ts";

const handler = tlsValues();
const up: Run = { mode: "up", signal: new AbortController().signal, note: () => undefined };

const pems = z.object({
  privateKeyPem: z.string().default(""),
  privateKeyPemPkcs8: z.string().default(""),
  publicKeyPem: z.string().default(""),
  certRequestPem: z.string().default(""),
  certPem: z.string().default(""),
});

function apply(kind: string, inputs: JsonObject, recorded?: Declared["recorded"]): Promise<Applied> {
  const type = `tls:index/${kind.charAt(0).toLowerCase()}${kind.slice(1)}:${kind}`;
  return handler.apply(
    { type, name: "n", inputs, hash: "h", provider: undefined, timeout: undefined, recorded },
    up,
  );
}

async function make(kind: string, inputs: JsonObject): Promise<z.infer<typeof pems>> {
  const { outputs } = await apply(kind, inputs);
  return pems.parse(outputs);
}

async function authority(algorithm = "ECDSA") {
  const key = await make("PrivateKey", { algorithm });
  const privateKeyPem = key.privateKeyPem;
  const certificate = await make("SelfSignedCert", {
    privateKeyPem,
    subject: { commonName: "Test CA", organization: "geocrop" },
    isCaCertificate: true,
    validityPeriodHours: 48,
    allowedUses: ["cert_signing", "crl_signing"],
  });
  return { privateKeyPem, certPem: certificate.certPem };
}

async function serverCertificate(algorithm = "ECDSA") {
  const ca = await authority(algorithm);
  const privateKeyPem = (await make("PrivateKey", { algorithm })).privateKeyPem;
  const request = await make("CertRequest", {
    privateKeyPem,
    subject: { commonName: "minio" },
    dnsNames: ["localhost", "*.minio-headless.geocrop.svc.cluster.local"],
    ipAddresses: ["127.0.0.1", "::1"],
  });
  const { certPem } = await make("LocallySignedCert", {
    certRequestPem: request.certRequestPem,
    caCertPem: ca.certPem,
    caPrivateKeyPem: ca.privateKeyPem,
    validityPeriodHours: 24,
    earlyRenewalHours: 8,
    allowedUses: ["digital_signature", "key_encipherment", "server_auth"],
  });
  return { ca: ca.certPem, certPem, privateKeyPem };
}

afterEach(() => {
  vi.useRealTimers();
});

describe("private keys", () => {
  test.each([
    [{ algorithm: "ECDSA", ecdsaCurve: "P256" }, "BEGIN EC PRIVATE KEY", "ec"],
    [{ algorithm: "RSA", rsaBits: 2048 }, "BEGIN RSA PRIVATE KEY", "rsa"],
    [{ algorithm: "ED25519" }, "BEGIN PRIVATE KEY", "ed25519"],
  ])("%j is of the form that the tls provider gives", async (inputs, header, kind) => {
    const made = await make("PrivateKey", inputs);
    expect(made.privateKeyPem).toContain(header);
    expect(createPrivateKey(made.privateKeyPem).asymmetricKeyType).toBe(kind);
    expect(made.privateKeyPemPkcs8).toContain("BEGIN PRIVATE KEY");
    const derived = createPublicKey(made.privateKeyPemPkcs8).export({ type: "spki", format: "pem" });
    expect(made.publicKeyPem).toBe(derived);
  });

  test("an RSA key below 2048 bits is refused", async () => {
    await expect(make("PrivateKey", { algorithm: "RSA", rsaBits: 1024 })).rejects.toThrow(/rsaBits/);
  });
});

describe("certificates", () => {
  test.each(["ECDSA", "RSA", "ED25519"])("a chain of %s keys verifies", async (algorithm) => {
    const { ca, certPem, privateKeyPem } = await serverCertificate(algorithm);
    const [root, leaf] = [new X509Certificate(ca), new X509Certificate(certPem)];
    expect(root.ca).toBe(true);
    expect(root.verify(root.publicKey)).toBe(true);
    expect(leaf.ca).toBe(false);
    expect(leaf.checkIssued(root)).toBe(true);
    expect(leaf.verify(root.publicKey)).toBe(true);
    expect(leaf.checkPrivateKey(createPrivateKey(privateKeyPem))).toBe(true);
  });

  test("names, uses and times are as declared", async () => {
    const { certPem } = await serverCertificate();
    const leaf = new X509Certificate(certPem);
    expect(leaf.subject).toBe("CN=minio");
    expect(leaf.issuer).toBe("O=geocrop\nCN=Test CA");
    expect(leaf.checkHost("minio-0.minio-headless.geocrop.svc.cluster.local")).toBeDefined();
    expect(leaf.checkHost("minio.example")).toBeUndefined();
    expect(leaf.checkIP("127.0.0.1")).toBeDefined();
    expect(leaf.checkIP("::1")).toBeDefined();
    expect(leaf.keyUsage).toStrictEqual(["1.3.6.1.5.5.7.3.1"]);
    expect(leaf.validToDate.getTime() - leaf.validFromDate.getTime()).toBe(24 * 3_600_000);
    expect(leaf.serialNumber).toMatch(/^[4-7][0-9A-F]{31}$/);
  });

  test("OpenSSL takes the chain in a handshake, and refuses it without the authority", async () => {
    const { ca, certPem, privateKeyPem } = await serverCertificate();
    const server = createServer({ cert: certPem, key: privateKeyPem }, (socket) => socket.end());
    server.on("tlsClientError", () => undefined);
    await new Promise<void>((resolve) => {
      server.listen(0, "127.0.0.1", resolve);
    });
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const shake = (options: { ca?: string }): Promise<unknown> =>
      new Promise((resolve) => {
        const socket = connect({ port, host: "127.0.0.1", servername: "localhost", ...options }, () => {
          socket.destroy();
          resolve(undefined);
        });
        socket.on("error", resolve);
      });
    expect(await shake({ ca })).toBeUndefined();
    expect(await shake({})).toBeInstanceOf(Error);
    server.close();
  });

  test("an unknown use is refused", async () => {
    const { privateKeyPem } = await authority();
    const certificate = { privateKeyPem, validityPeriodHours: 1, allowedUses: ["world_domination"] };
    await expect(make("SelfSignedCert", certificate)).rejects.toThrow(/"world_domination"/);
  });

  test("one is renewed from earlyRenewalHours before its end, and not an hour before that", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.UTC(2030, 0, 1) });
    const { privateKeyPem } = await authority();
    const inputs = {
      privateKeyPem,
      subject: { commonName: "n" },
      validityPeriodHours: 24,
      earlyRenewalHours: 8,
      allowedUses: ["server_auth"],
    };
    const { outputs } = await apply("SelfSignedCert", inputs);
    const recorded = { type: "t", name: "n", id: "n", hash: "h", generated: outputs };
    vi.setSystemTime(Date.UTC(2030, 0, 1, 15));
    expect((await apply("SelfSignedCert", inputs, recorded)).change).toBe("same");
    vi.setSystemTime(Date.UTC(2030, 0, 1, 16));
    const renewed = await apply("SelfSignedCert", inputs, recorded);
    expect(renewed.change).toBe("replace");
    expect(renewed.outputs["certPem"]).not.toBe(outputs["certPem"]);
  });
});
