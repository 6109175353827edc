import { beforeAll, describe, expect, test } from "vitest";

import { isSecret, recordProgram, type Recording } from "./recorded-program.ts";

describe.each(["dev", "prod"])("the %s stack", (stack) => {
  let preview: Recording;
  let update: Recording;

  beforeAll(async () => {
    preview = await recordProgram(stack, true);
    update = await recordProgram(stack, false);
  });

  test("declares the same resources at its first preview, when nothing is known, as when it is made", () => {
    expect(declared(preview)).toEqual(declared(update));
    expect(update.registrations.length).toBeGreaterThan(60);
  });

  test("opens its tunnel once there is a server, and never at a first preview", () => {
    expect(preview.tunnelsOpened).toBe(0);
    expect(update.tunnelsOpened).toBe(1);
  });

  test("gives every Secret its values as secrets", () => {
    const secrets = ofType(update, "kubernetes:core/v1:Secret");
    expect(secrets.length).toBeGreaterThanOrEqual(6);
    for (const { name, inputs } of secrets) {
      expect(isSecret(inputs["data"]), `${name}.data`).toBe(true);
      expect(inputs["stringData"], `${name}.stringData`).toBeUndefined();
    }
  });

  test("gives users, providers and certificates their secrets as secrets", () => {
    for (const { inputs } of ofType(update, "minio:index/iamUser:IamUser"))
      expect(isSecret(inputs["secret"])).toBe(true);
    const providers = ofType(update, "pulumi:providers:minio");
    expect(providers).toHaveLength(2);
    for (const { inputs } of providers) expect(isSecret(inputs["minioPassword"])).toBe(true);
    const keys = update.registrations
      .filter(({ type }) => type.startsWith("tls:"))
      .flatMap(({ inputs }) => [inputs["privateKeyPem"], inputs["caPrivateKeyPem"]])
      .filter((key) => key !== undefined);
    expect(keys.every(isSecret)).toBe(true);
  });

  test("shows no generated secret outside a secret", () => {
    const shown = JSON.stringify(update.registrations, (_, value) => (isSecret(value) ? "[secret]" : value));
    expect(shown).not.toContain("password-of-");
    expect(shown).not.toContain("PRIVATE KEY");
  });

  test("gives every resource but the root and the cluster's provider a parent of its own", () => {
    const orphans = preview.urns.filter((urn) => !urn.includes("$"));
    expect(orphans.map((urn) => urn.split("::").slice(2).join(" ")).toSorted()).toEqual([
      "geocrop:storage:GeocropStorage geocrop",
      "pulumi:providers:kubernetes cluster",
    ]);
  });

  test("has components only of its own kind of token", () => {
    const components = update.registrations.filter(({ custom }) => !custom);
    expect(components.length).toBeGreaterThan(10);
    for (const { type } of components) expect(type).toMatch(/^geocrop:storage:[A-Z][A-Za-z]+$/);
  });

  test("has the four private buckets, versioned and with a quota", () => {
    const buckets = ofType(update, "minio:index/s3Bucket:S3Bucket").map(({ inputs }) => inputs);
    const names = new Set(buckets.map(({ bucket }) => bucket));
    expect(names).toEqual(
      new Set(["geocrop-baselines", "geocrop-datasets", "geocrop-models", "geocrop-results"]),
    );
    for (const bucket of buckets) {
      expect(bucket).toMatchObject({
        acl: "private",
        quota: expect.any(Number),
        forceDestroy: stack === "dev",
      });
    }
    const versioned = ofType(update, "minio:index/s3BucketVersioning:S3BucketVersioning");
    expect(new Set(versioned.map(({ inputs }) => inputs["bucket"]))).toEqual(names);
  });
});

describe("pods", () => {
  test.each(["dev", "prod"])(
    "of %s keep to Pod Security restricted, and no Secret is in their environment",
    async (stack) => {
      const { registrations } = await recordProgram(stack, true);
      const workloads = registrations.filter(({ type }) => /:(StatefulSet|Deployment)$/.test(type));
      expect(workloads).toHaveLength(4);
      for (const { inputs } of workloads) {
        expect(inputs).toMatchObject({
          spec: {
            template: {
              spec: {
                automountServiceAccountToken: false,
                securityContext: {
                  runAsNonRoot: true,
                  runAsUser: 1000,
                  seccompProfile: { type: "RuntimeDefault" },
                },
                containers: [
                  {
                    securityContext: {
                      allowPrivilegeEscalation: false,
                      readOnlyRootFilesystem: true,
                      capabilities: { drop: ["ALL"] },
                    },
                    resources: {
                      requests: { memory: expect.any(String) },
                      limits: { memory: expect.any(String) },
                    },
                  },
                ],
              },
            },
          },
        });
        expect(JSON.stringify(inputs)).not.toMatch(/secretKeyRef|secretRef/);
      }
    },
  );

  test("of prod's MinIO are four, on four nodes, with their drives named in one erasure-coded server", async () => {
    const { registrations } = await recordProgram("prod", true);
    const minio = registrations.find(({ name }) => name === "geocrop-minio-pods");
    expect(minio?.inputs).toMatchObject({
      spec: {
        replicas: 4,
        podManagementPolicy: "Parallel",
        template: {
          spec: {
            affinity: {
              podAntiAffinity: {
                requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: "kubernetes.io/hostname" }],
              },
            },
            containers: [
              {
                image: expect.stringMatching(/@sha256:/),
                args: expect.arrayContaining([
                  "https://minio-{0...3}.minio-headless.geocrop.svc.cluster.local:9000/data",
                ]),
              },
            ],
          },
        },
      },
    });
  });
});

describe("prod", () => {
  test("asks cert-manager for a certificate for each of the four servers and makes no key itself", async () => {
    const { registrations } = await recordProgram("prod", true);
    const certificates = registrations.filter(
      ({ type }) => type === "kubernetes:cert-manager.io/v1:Certificate",
    );
    expect(certificates).toHaveLength(4);
    expect(registrations.filter(({ type }) => type.startsWith("tls:"))).toEqual([]);
  });
});

describe("credentials", () => {
  test("of the turn before stay valid beside the new ones", async () => {
    const { registrations } = await recordProgram("dev", true, {
      "geocrop-storage:credentials": { generation: 3 },
    });
    const users = registrations
      .filter(({ type }) => type === "minio:index/iamUser:IamUser")
      .map(({ name }) => name);
    expect(users).toContain("geocrop-api-signer-g2");
    expect(users).toContain("geocrop-api-signer-g3");
    expect(users).toHaveLength(8);
  });
});

function declared({ registrations }: Recording): string[] {
  return registrations.map(({ type, name }) => `${type} ${name}`).toSorted();
}

function ofType({ registrations }: Recording, type: string) {
  const found = registrations.filter((registration) => registration.type === type);
  expect(found.length, type).toBeGreaterThan(0);
  return found;
}
