import { beforeAll, describe, expect, test } from "vitest";

import { podSecurityProblems } from "../../policy/pod-security.ts";
import { at } from "../../policy/values.ts";
import { isSecret, recordProgram, type Recording } from "../support/recorded-program.ts";

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
        const pod = at(inputs, "spec", "template", "spec");
        expect(podSecurityProblems(pod)).toEqual([]);
        expect(pod).toMatchObject({
          securityContext: { runAsUser: 1000 },
          containers: [
            {
              resources: {
                requests: { memory: expect.any(String) },
                limits: { memory: expect.any(String) },
              },
            },
          ],
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

describe("exposure", () => {
  test.each([
    [
      { type: "Ingress", className: "nginx", annotations: { "example.com/backend-protocol": "HTTPS" } },
      "kubernetes:networking.k8s.io/v1:Ingress",
      {
        ingressClassName: "nginx",
        rules: [{ host: "api.example" }],
        tls: [{ secretName: "geocrop-api-tls" }],
      },
    ],
    [
      { type: "TLSRoute", gateway: { name: "public", namespace: "gateways" } },
      "kubernetes:gateway.networking.k8s.io/v1:TLSRoute",
      { hostnames: ["api.example"], parentRefs: [{ name: "public", namespace: "gateways" }] },
    ],
  ])("by %o leads there and opens no port itself", async (expose, type, spec) => {
    const { registrations } = await recordProgram("dev", true, {
      "geocrop-storage:api": {
        publicUrl: "https://api.example",
        expose,
        auth: { mode: "dev-issuer" },
      },
    });
    const route = registrations.find((registration) => registration.type === type);
    expect(route?.inputs).toMatchObject({ spec });
    const service = registrations.find(({ name }) => name === "geocrop-api-service");
    expect(service?.inputs).toMatchObject({ spec: { type: "ClusterIP" } });
  });

  test("by a load balancer keeps clients' addresses, which the gateway's limits go by", async () => {
    const { registrations } = await recordProgram("prod", true);
    const service = registrations.find(({ name }) => name === "geocrop-downloads-service");
    expect(service?.inputs).toMatchObject({
      spec: { type: "LoadBalancer", externalTrafficPolicy: "Local" },
    });
  });
});

describe("the audit receiver", () => {
  test("is told its retention and its index, and may go there and nowhere else", async () => {
    const { registrations } = await recordProgram("dev", true, {
      "geocrop-storage:audit": {
        storage: "10Gi",
        forward: { url: "https://logs.example:9428/insert/jsonline", authorizationSecret: "index" },
      },
    });
    const text = (name: string) => JSON.stringify(registrations.find((one) => one.name === name)?.inputs);
    expect(text("geocrop-audit-pods")).toContain('{"name":"RETENTION_DAYS","value":"90"}');
    expect(text("geocrop-audit-pods")).toContain('{"name":"RETENTION_BYTES","value":"8589934592"}');
    expect(text("geocrop-audit-pods")).toContain('"secretName":"index"');
    const policy = registrations.find(({ name }) => name === "geocrop-network-audit-receiver");
    expect(policy?.inputs).toMatchObject({
      spec: { egress: [{ ports: [{ protocol: "TCP", port: 9428 }] }] },
    });
  });
});

describe("web pages", () => {
  test("of an allowed origin are known to both that they call, the API and the gateway", async () => {
    const { registrations } = await recordProgram("dev", true, {
      "geocrop-storage:allowedOrigins": ["https://map.example.com"],
    });
    const text = (name: string) => JSON.stringify(registrations.find((one) => one.name === name)?.inputs);
    expect(text("geocrop-api-deployment")).toContain(
      '{"name":"CORS_ORIGINS","value":"https://map.example.com"}',
    );
    expect(text("geocrop-downloads-config")).toContain(String.raw`\"https://map.example.com\" $http_origin;`);
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
