import { isIP } from "node:net";

import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";

import { oldestMinioRelease, requiredBuckets, sandboxRegistry } from "./names.ts";
import { bytesOf, quantityPattern } from "./quantity.ts";

const quantity = z
  .string({ error: "must be a size: write a number and a unit, for example 10Gi" })
  .regex(quantityPattern, "is not a size: write a number and a unit (Mi, Gi, Ti, M, G, T), for example 10Gi");

const image = z
  .string({ error: "is missing: name the image as registry/name@sha256:<64 hex digits>" })
  .refine((value) => value.startsWith(`${sandboxRegistry}/`) || /^[^@\s]+@sha256:[0-9a-f]{64}$/.test(value), {
    error:
      "has no digest: pin it as registry/name@sha256:<64 hex digits> (tags can be moved to another image)",
  });

const minioImage = image.refine(
  (value) => {
    const release = /RELEASE\.(\d{4}-\d{2}-\d{2})T/.exec(value)?.[1];
    return release === undefined || release >= oldestMinioRelease;
  },
  {
    error: `is older than ${oldestMinioRelease} and open to CVE-2025-62506: take a maintained build (README, "Images")`,
  },
);

const httpsUrl = z.url({
  protocol: /^https$/,
  error: "is not an https address: write https://host or https://host:port",
});

/** Clients sign the Host header, so a public address is a bare origin: no path, query or trailing slash. */
const publicOrigin = httpsUrl.refine((value) => URL.canParse(value) && new URL(value).origin === value, {
  error:
    "must be a bare origin: write https://host or https://host:port, lower case, without :443 or a slash at the end",
});

/** Compared as a whole, so no wildcard has a meaning. */
const webOrigin = publicOrigin.refine((value) => !value.includes("*"), {
  error: "has a wildcard: name each origin",
});

const perMinute = (standard: number) =>
  z
    .int({ error: "must be a whole number of requests a minute" })
    .min(100, "must be at least 100: a batch of 100 jobs counts as 100")
    .max(1_000_000, "must be at most 1000000")
    .default(standard);

const replicas = (most: number) =>
  z
    .int({ error: `must be a whole number from 1 to ${most}` })
    .min(1)
    .max(most, `must be at most ${most}`);

const storageClass = z.string().min(1, "is empty: name a StorageClass or remove the key").optional();

const resources = (cpu: string, memory: string) =>
  z
    .strictObject({
      cpu: z
        .string()
        .regex(/^\d+m?$/, "is not a CPU share: write whole cores (2) or thousandths (500m)")
        .default(cpu),
      memory: quantity.default(memory),
    })
    .prefault({});

/** How the workload is reached from outside the cluster. */
const exposure = z.discriminatedUnion(
  "type",
  [
    z.strictObject({ type: z.literal("ClusterIP") }),
    z.strictObject({ type: z.literal("LoadBalancer") }),
    z.strictObject({
      type: z.literal("NodePort"),
      nodePort: z
        .int({ error: "must be a port number from 30000 to 32767" })
        .min(30000, "must be at least 30000, the lowest port Kubernetes gives to NodePorts")
        .max(32767, "must be at most 32767, the highest port Kubernetes gives to NodePorts"),
    }),
    z.strictObject({
      type: z.literal("Ingress"),
      className: z.string().min(1, "is empty: name an IngressClass or remove the key").optional(),
      annotations: z.record(z.string(), z.string()).default({}),
    }),
    z.strictObject({
      type: z.literal("TLSRoute"),
      gateway: z.strictObject(
        {
          name: z.string().min(1, "is empty: name the Gateway"),
          namespace: z.string().min(1, "is empty: name the Gateway's namespace or remove the key").optional(),
          sectionName: z.string().min(1, "is empty: name the listener or remove the key").optional(),
        },
        { error: "is missing: give at least {name: <the Gateway>}" },
      ),
    }),
  ],
  {
    error:
      "has an unknown type: choose ClusterIP, LoadBalancer, NodePort (with nodePort), Ingress or TLSRoute (with gateway)",
  },
);

const bucket = z.strictObject({
  quota: quantity,
  noncurrentDays: z
    .int({ error: "must be a whole number of days" })
    .min(1, "must be at least 1 day: versioned buckets count every version against their quota")
    .default(30),
  expireDays: z
    .int({ error: "must be a whole number of days" })
    .min(1, "must be at least 1 day; leave it out to keep objects for ever")
    .optional(),
});

const bucketName = z
  .string()
  .regex(
    /^(?!xn--|sthree-)(?!.*-s3alias$)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/,
    "is no bucket name: 3 to 63 lower-case letters, digits and hyphens, starting and ending with a letter or digit",
  );

const buckets = z
  .record(bucketName, bucket, { error: "must map bucket names to {quota, noncurrentDays, expireDays}" })
  .superRefine((value, context) => {
    for (const name of requiredBuckets.filter((name) => !(name in value))) {
      context.addIssue({
        code: "custom",
        path: [name],
        message: "is missing: geocrop needs this bucket, give it at least {quota: <size>}",
      });
    }
  });

/** Erasure sets hold 4 to 16 drives here, one drive a pod; MinIO splits the pods evenly into such sets. */
function erasureCodingTakes(pods: number): boolean {
  if (pods === 1) return true;
  return Array.from({ length: 13 }, (_, index) => index + 4).some((drives) => pods % drives === 0);
}

const tls = z.discriminatedUnion(
  "issuer",
  [
    z.strictObject({ issuer: z.literal("self-signed-ca") }),
    z.strictObject({
      issuer: z.literal("cert-manager"),
      issuerRef: z.strictObject({
        name: z.string().min(1, "is empty: name the cert-manager issuer"),
        kind: z
          .enum(["Issuer", "ClusterIssuer"], { error: "must be Issuer or ClusterIssuer" })
          .default("ClusterIssuer"),
      }),
    }),
    z.strictObject({ issuer: z.literal("existing-secret") }),
  ],
  { error: "has an unknown issuer: choose self-signed-ca, cert-manager (with issuerRef) or existing-secret" },
);

const auth = z.discriminatedUnion(
  "mode",
  [
    z.strictObject({ mode: z.literal("dev-issuer") }),
    z.strictObject({
      mode: z.literal("jwks-url"),
      issuer: z.string().min(1, "is empty: write the `iss` that your tokens carry"),
      audience: z.string().min(1, "is empty: write the `aud` that your tokens carry"),
      url: httpsUrl,
      algorithms: z
        .array(
          z.enum(["ES256", "ES384", "EdDSA", "RS256", "PS256"], {
            error: "is no accepted signature algorithm",
          }),
        )
        .min(1, "is empty: name at least one algorithm, for example [ES256]")
        .default(["ES256"]),
      ca: z
        .string()
        .regex(
          /^-----BEGIN CERTIFICATE-----\n/,
          "is no certificate: write the PEM text of the authority that the issuer's own certificate is of",
        )
        .optional(),
    }),
  ],
  { error: "has an unknown mode: choose dev-issuer or jwks-url (with issuer, audience, url)" },
);

const schema = z.strictObject({
  namespace: z
    .string()
    .regex(
      /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
      "is no namespace name: lower-case letters, digits and hyphens",
    )
    .default("geocrop"),
  protectData: z.boolean({ error: "must be true or false" }).default(true),
  images: z.strictObject(
    { minio: minioImage, signedUrlApi: image, downloadGateway: image, auditReceiver: image },
    {
      error:
        'is missing or incomplete: give minio, signedUrlApi, downloadGateway and auditReceiver (README, "Images")',
    },
  ),
  minio: z.strictObject(
    {
      replicas: z
        .int({ error: "must be a whole number" })
        .min(1, "must be 1, or at least 4")
        .max(64, "must be at most 64")
        .refine(erasureCodingTakes, {
          error:
            "cannot be erasure coded: take 1 (no redundancy), or a number that splits into sets of 4 to 16 (4, 5, 6, 8, 12, 16, ...)",
        })
        .default(1),
      storage: quantity,
      storageClass,
      resources: resources("250m", "1Gi"),
      rootAccess: z
        .enum(["bootstrap", "off"], {
          error: "must be bootstrap (until the stack is deployed) or off (from then on)",
        })
        .default("bootstrap"),
    },
    { error: "is missing: give at least {storage: <size of each pod's drive>}" },
  ),
  buckets,
  tls: tls.default({ issuer: "self-signed-ca" }),
  credentials: z
    .strictObject({
      generation: z
        .int({ error: "must be a whole number" })
        .min(1, "must be at least 1; raise it by one to turn the credentials")
        .default(1),
    })
    .prefault({}),
  api: z.strictObject(
    {
      replicas: replicas(20).default(1),
      publicUrl: publicOrigin,
      expose: exposure.default({ type: "ClusterIP" }),
      urlExpirySeconds: z
        .int({ error: "must be a whole number of seconds" })
        .min(900, "is shorter than 900 seconds (15 minutes): choose 900 to 3600")
        .max(3600, "is longer than 3600 seconds (60 minutes): choose 900 to 3600")
        .default(900),
      auth,
      adminClaim: z
        .strictObject({
          claim: z.string().regex(/^[^=\s]+$/, "is no claim name: no blanks, no ="),
          value: z.string().regex(/^\S+$/, "is no claim value: it has no blanks"),
        })
        .optional(),
      rateLimits: z.strictObject({ perSubject: perMinute(600), perAddress: perMinute(3000) }).prefault({}),
      resources: resources("100m", "256Mi"),
    },
    { error: "is missing: give at least {publicUrl, auth}" },
  ),
  downloads: z.strictObject(
    {
      replicas: replicas(20).default(1),
      publicUrl: publicOrigin,
      expose: exposure.default({ type: "ClusterIP" }),
      limits: z
        .strictObject({
          connections: z
            .int({ error: "must be a whole number of downloads at once" })
            .min(1, "must be at least 1")
            .default(256),
          requestsPerSecond: z
            .int({ error: "must be a whole number of requests a second" })
            .min(1, "must be at least 1")
            .default(500),
        })
        .prefault({}),
      trustedProxies: z
        .array(
          z.union([z.cidrv4(), z.cidrv6()], {
            error: "is no address range: write it as 10.0.0.0/8 or fd00::/8",
          }),
        )
        .default([]),
      resources: resources("100m", "256Mi"),
    },
    { error: "is missing: give at least {publicUrl}" },
  ),
  allowedOrigins: z
    .array(webOrigin, { error: "must be a list of web origins, for example [https://map.example.com]" })
    .default([]),
  monitoring: z
    .strictObject({
      namespace: z
        .string()
        .regex(
          /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
          "is no namespace name: lower-case letters, digits and hyphens",
        ),
    })
    .optional(),
  audit: z
    .strictObject({
      storage: quantity.default("10Gi"),
      queueStorage: quantity.default("1Gi"),
      storageClass,
      resources: resources("50m", "256Mi"),
      retention: z
        .strictObject({
          days: z
            .int({ error: "must be a whole number of days" })
            .min(1, "must be at least 1 day")
            .max(3650, "must be at most 3650 days")
            .default(90),
          size: quantity.optional(),
        })
        .prefault({}),
      forward: z
        .strictObject(
          {
            url: httpsUrl.refine((value) => URL.canParse(value) && new URL(value).username === "", {
              error: "holds a user name: put the Authorization header's value into a Secret and name that",
            }),
            format: z.enum(["ndjson", "loki"], { error: "must be ndjson or loki" }).default("ndjson"),
            authorizationSecret: z.string().min(1, "is empty: name the Secret or remove the key").optional(),
          },
          { error: "is incomplete: give at least {url: https://…}" },
        )
        .optional(),
    })
    .prefault({}),
  tunnelPort: z
    .int({ error: "must be a port number from 1024 to 65535" })
    .min(1024, "must be a port number from 1024 to 65535")
    .max(65535, "must be a port number from 1024 to 65535")
    .default(39000),
});

/** Faults between keys. Each looks at its own keys only, so that it is told even when others are wrong. */
function crossFaults(values: unknown, prefix: string): string[] {
  const faults: string[] = [];
  const issuer = z
    .object({ protectData: schema.shape.protectData, api: z.object({ auth }) })
    .safeParse(values).data;
  if (issuer?.protectData === true && issuer.api.auth.mode === "dev-issuer") {
    faults.push(
      `${prefix}api.auth.mode = "dev-issuer": keeps a token-signing key in the cluster and is for trying only: set jwks-url, or protectData to false on a throw-away stack`,
    );
  }
  const capacity = z.object({ minio: schema.shape.minio, buckets }).safeParse(values).data;
  if (capacity !== undefined) {
    const usable = bytesOf(capacity.minio.storage) * usableDrives(capacity.minio.replicas);
    const promised = Object.values(capacity.buckets).reduce((sum, { quota }) => sum + bytesOf(quota), 0);
    if (promised > usable) {
      faults.push(
        `${prefix}minio.storage = "${capacity.minio.storage}": holds less than the buckets' quotas together: ${gibibytes(promised)} promised, ${gibibytes(usable)} usable after parity: raise it or lower the quotas`,
      );
    }
  }
  const trail = z.object({ audit: schema.shape.audit }).safeParse(values).data?.audit;
  if (trail?.retention.size !== undefined) {
    const room = bytesOf(trail.storage) * fullTrail;
    if (bytesOf(trail.retention.size) > room) {
      faults.push(
        `${prefix}audit.retention.size = "${trail.retention.size}": leaves no room on a volume of ${trail.storage}, and a full one takes no event: at most ${gibibytes(room)}, or raise audit.storage`,
      );
    }
  }
  for (const name of ["api", "downloads"] as const) {
    const door = z
      .object({ [name]: z.object({ publicUrl: publicOrigin, expose: exposure }) })
      .safeParse(values).data?.[name];
    if (door === undefined || !["Ingress", "TLSRoute"].includes(door.expose.type)) continue;
    const { hostname } = new URL(door.publicUrl);
    if (isIP(hostname.replaceAll(/[[\]]/g, "")) !== 0) {
      faults.push(
        `${prefix}${name}.publicUrl = "${door.publicUrl}": is an address, which ${door.expose.type} cannot route by: give it a host name`,
      );
    }
  }
  return faults;
}

/** The share of its volume that the audit trail may fill: file systems keep some for themselves. */
export const fullTrail = 0.9;

/**
 * Drives' worth of user data that MinIO's default parity leaves (by set size: 1 drive EC:0, 4-5 EC:2, 6-7
 * EC:3, 8 and more EC:4; MinIO 7aac2a2 internal/config/storageclass).
 */
function usableDrives(drives: number): number {
  if (drives === 1) return 1;
  const setSize =
    Array.from({ length: 13 }, (_, index) => 16 - index).find((size) => drives % size === 0) ?? drives;
  const parity = setSize >= 8 ? 4 : setSize >= 6 ? 3 : 2;
  return drives - (drives / setSize) * parity;
}

const gibibytes = (bytes: number) => `${(bytes / 1024 ** 3).toFixed(1)}Gi`;

/** The stack's settings, defaults applied. */
export type Settings = z.infer<typeof schema>;

/** Every fault of a stack's configuration, told in one message: the key, the value and the remedy of each. */
export class ConfigError extends pulumi.RunError {
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    const count = faults.length === 1 ? "1 fault" : `${faults.length} faults`;
    super(
      `The stack's configuration has ${count}; nothing was touched:\n${faults.map((fault) => `  - ${fault}`).join("\n")}`,
    );
    this.faults = faults;
  }
}

/**
 * Checks raw Pulumi configuration, as `namespace:key` to string, structured values as JSON.
 *
 * @throws ConfigError naming all faults at once.
 */
export function parseSettings(raw: Readonly<Record<string, string>>, project: string): Settings {
  const prefix = `${project}:`;
  const faults: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [fullKey, text] of Object.entries(raw)) {
    if (!fullKey.startsWith(prefix)) continue;
    const key = fullKey.slice(prefix.length);
    try {
      values[key] = key === "namespace" ? text : JSON.parse(text);
    } catch {
      values[key] = text;
    }
  }
  const parsed = schema.safeParse(values, { reportInput: true });
  faults.push(...(parsed.error?.issues ?? []).flatMap((issue) => describe(issue, prefix)));
  faults.push(...crossFaults(values, prefix));
  if (parsed.data === undefined || faults.length > 0) throw new ConfigError(faults);
  return parsed.data;
}

/** The running stack's settings. @throws ConfigError */
export function loadSettings(): Settings {
  return parseSettings(pulumi.runtime.allConfig(), pulumi.getProject());
}

function describe(issue: z.core.$ZodIssue, prefix: string): string[] {
  const key = prefix + issue.path.join(".");
  // The value of an unknown key is not shown: it may be a secret that was set under a wrong name.
  if (issue.code === "unrecognized_keys") {
    const parent = issue.path.length === 0 ? prefix : `${key}.`;
    return issue.keys.map(
      (unknown) => `${parent}${unknown}: unknown key: remove it, or see the README's table of keys`,
    );
  }
  if (issue.code === "invalid_key") {
    return issue.issues.map((inner) => `${key}: ${inner.message}`);
  }
  const shown =
    issue.input === undefined || typeof issue.input === "object"
      ? ""
      : // An address may hold a password.
        ` = ${JSON.stringify(issue.input).replaceAll(/\/\/[^/]*@/g, "//***@")}`;
  return [`${key}${shown}: ${issue.message}`];
}
