import "reflect-metadata";
import { webcrypto, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import * as x509 from "@peculiar/x509";
import { KubeConfig } from "@kubernetes/client-node";
import { describe, expect, test } from "vitest";

import { type Check, type Result, runChecks } from "../../../../tools/verify/check.ts";
import { checks, chosenChecks } from "../../../../tools/verify/checks/index.ts";
import { certificateFault } from "../../../../tools/verify/checks/transport.ts";
import { readDeclaration } from "../../../../tools/program/stack-file.ts";
import { Target } from "../../../../tools/verify/target.ts";

const settings = readDeclaration(join(import.meta.dirname, "../../../../Pulumi.dev.yaml"));
const cluster = new KubeConfig();
cluster.loadFromClusterAndUser(
  { name: "none", server: "https://192.0.2.1", skipTLSVerify: false },
  { name: "nobody" },
);
const target = () => new Target({ cluster, namespace: "geocrop", settings, image: "none" });

const check = (id: string, run: Check["run"]): Check => ({ id, proves: "p", how: "h", remedy: "r", run });
const outcomes = (results: readonly Result[]) =>
  Object.fromEntries(results.map(({ id, outcome }) => [id, outcome]));

describe("the runner", () => {
  test("tells what holds, what is broken, and what could not be looked at", async () => {
    const results = await runChecks(
      [
        check("a", async () => ({ seen: "all", faults: [] })),
        check("b", async () => ({ seen: "some", faults: ["this"] })),
        check("c", async () => {
          throw new Error("no way in", { cause: new Error("refused") });
        }),
      ],
      target(),
      () => undefined,
    );
    expect(outcomes(results)).toEqual({ a: "holds", b: "broken", c: "not run" });
    expect(results.find(({ id }) => id === "c")?.faults).toEqual([
      "could not be looked at: no way in: refused",
    ]);
  });

  test("shows no secret and no signature, wherever a check found it", async () => {
    const secretive = target();
    secretive.keepSecret("a-secret-value");
    const url = "https://x/y?X-Amz-Credential=key&X-Amz-Signature=0123abcd&z=1";
    const [result] = await runChecks(
      [check("a", async () => ({ seen: `a-secret-value at ${url}`, faults: ["has a-secret-value", url] }))],
      secretive,
      () => undefined,
    );
    expect(JSON.stringify(result)).not.toMatch(/a-secret-value|0123abcd|=key/);
  });
});

describe("the checks", () => {
  test("have ids of their own, and say what they prove, how, and what to do", () => {
    expect(new Set(checks.map(({ id }) => id)).size).toBe(checks.length);
    for (const { id, proves, how, remedy } of checks) {
      expect(id).toMatch(/^[a-z]+\.[a-z-]+$/);
      for (const text of [proves, how, remedy]) expect(text.length).toBeGreaterThan(10);
    }
  });

  test("are chosen by id or family, and a wrong name is told", () => {
    expect(chosenChecks("tls,buckets.quotas").map(({ id }) => id)).toEqual([
      "buckets.quotas",
      "tls.version",
      "tls.plain-http",
      "tls.certificates",
    ]);
    expect(() => chosenChecks("tls,nope")).toThrow('there is no check or family "nope": see --list');
  });
});

describe("a declaration", () => {
  test("is read from a stack file, other namespaces and their encrypted values aside", () => {
    const folder = mkdtempSync(join(tmpdir(), "verify-"));
    const file = join(folder, "Pulumi.x.yaml");
    writeFileSync(
      file,
      "config:\n  kubernetes:kubeconfig: { secure: v1:abc }\n  geocrop-storage:namespace: here\n",
    );
    expect(() => readDeclaration(file)).toThrow(/images: is missing/);
    writeFileSync(file, "no: config\n");
    expect(() => readDeclaration(file)).toThrow(/errors/);
    writeFileSync(file, "- a list\n");
    expect(() => readDeclaration(file)).toThrow(`${file} is no stack file`);
    rmSync(folder, { recursive: true });
    expect(settings.namespace).toBe("geocrop");
  });
});

describe("a certificate", () => {
  const names = {
    dnsNames: ["minio", "*.minio-headless.geocrop.svc.cluster.local"],
    ipAddresses: ["127.0.0.1"],
  };
  const certificate = async (hours: number): Promise<X509Certificate> => {
    const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
    const made = await x509.X509CertificateGenerator.createSelfSigned({
      name: "CN=minio",
      notAfter: new Date(Date.now() + hours * 3_600_000),
      keys: await webcrypto.subtle.generateKey(algorithm, false, ["sign", "verify"]),
      signingAlgorithm: algorithm,
      extensions: [
        new x509.SubjectAlternativeNameExtension([
          ...names.dnsNames.map((value) => ({ type: "dns" as const, value })),
          ...names.ipAddresses.map((value) => ({ type: "ip" as const, value })),
        ]),
      ],
    });
    return new X509Certificate(made.toString("pem"));
  };

  test("is right with its names and enough days", async () => {
    expect(certificateFault(await certificate(20 * 24), names)).toBeUndefined();
  });

  test("is told by the names that it lacks, and by the days that are left", async () => {
    const lacking = { dnsNames: ["minio", "minio.geocrop"], ipAddresses: ["10.0.0.1"] };
    expect(certificateFault(await certificate(20 * 24), lacking)).toBe("is not for minio.geocrop, 10.0.0.1");
    expect(certificateFault(await certificate(14 * 24), names)).toBe("ends in 13 days");
  });
});
