import * as kubernetes from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { tlsSecretName } from "../tls/certificates.ts";
import { credentialsSecretName } from "../access/credentials.ts";
import { exposedPort, routeTo } from "../kubernetes/exposure.ts";
import { minioRegion } from "../minio/minio-server.ts";
import type { Exposure } from "../../config/exposure.ts";
import { bytesOf } from "../../config/quantity.ts";
import type { TokenRules } from "./token-issuer.ts";
import {
  httpsProbe,
  notAwaited,
  podLabels,
  resourceRequirements,
  restrictedContainer,
  restrictedPod,
  spread,
} from "../kubernetes/workload.ts";

const labels = podLabels("geocrop-api", "signed-url-api");
/** Not `app` alone: job submitters carry that label too. */
const selector = {
  matchLabels: { app: "geocrop-api", "app.kubernetes.io/component": "signed-url-api" },
};
const port = 8443;
const metricsPort = 9100;
const jwksFile = "/etc/geocrop/jwks/jwks.json";
const issuerCaFile = "/etc/geocrop/issuer/ca.crt";

export interface SignedUrlApiArgs {
  readonly namespace: string;
  /** Pinned by digest. */
  readonly image: pulumi.Input<string>;
  readonly replicas: number;
  readonly expose: Exposure;
  /** Where users reach it. */
  readonly publicUrl: string;
  readonly resources: { readonly cpu: string; readonly memory: string };
  readonly minioEndpoint: string;
  readonly resultsBucket: string;
  /** The gateway's public origin: what is signed as Host. */
  readonly downloadUrl: string;
  /** Seconds that a URL lives when the asker says nothing, 900 to 3600. */
  readonly urlExpirySeconds: number;
  readonly tokens: TokenRules;
  /** Whose bearer may read every job's result. @default nobody's */
  readonly adminClaim?: { readonly claim: string; readonly value: string } | undefined;
  /** Web origins whose pages may call the API. */
  readonly allowedOrigins: readonly string[];
  /** Requests a minute, counted by each pod. */
  readonly rateLimits: { readonly perSubject: number; readonly perAddress: number };
}

/** Gives owners of results short-lived URLs to download them by. */
export class SignedUrlApi extends pulumi.ComponentResource {
  constructor(name: string, args: SignedUrlApiArgs, opts?: pulumi.ComponentResourceOptions) {
    super("geocrop:storage:SignedUrlApi", name, {}, opts);
    const parent = { parent: this };
    const { namespace } = args;
    const { keys } = args.tokens;
    const localKeys = "configMap" in keys ? keys : undefined;
    const issuerCa = "url" in keys ? keys.ca : undefined;

    const account = new kubernetes.core.v1.ServiceAccount(
      `${name}-account`,
      { metadata: { name: "geocrop-api", namespace }, automountServiceAccountToken: false },
      parent,
    );
    new kubernetes.core.v1.Service(
      `${name}-service`,
      {
        metadata: { name: "geocrop-api", namespace, labels, annotations: notAwaited },
        spec: { ...exposedPort(args.expose), selector: selector.matchLabels },
      },
      parent,
    );
    routeTo(name, "geocrop-api", namespace, args.publicUrl, args.expose, parent);
    // A Service of its own, so that the metrics are on no port that is open to the outside; headless, for Prometheus
    // asks every pod.
    new kubernetes.core.v1.Service(
      `${name}-metrics`,
      {
        metadata: { name: "geocrop-api-metrics", namespace, labels, annotations: notAwaited },
        spec: {
          clusterIP: "None",
          ports: [{ name: "metrics", port: metricsPort, targetPort: metricsPort }],
          selector: selector.matchLabels,
        },
      },
      parent,
    );
    const issuerAuthority =
      issuerCa === undefined
        ? undefined
        : new kubernetes.core.v1.ConfigMap(
            `${name}-issuer-authority`,
            { metadata: { name: "issuer-authority", namespace }, data: { "ca.crt": issuerCa } },
            parent,
          );
    new kubernetes.policy.v1.PodDisruptionBudget(
      `${name}-disruptions`,
      { metadata: { name: "geocrop-api", namespace }, spec: { maxUnavailable: 1, selector } },
      parent,
    );
    new kubernetes.apps.v1.Deployment(
      `${name}-deployment`,
      {
        metadata: { name: "geocrop-api", namespace, labels },
        spec: {
          replicas: args.replicas,
          selector,
          template: {
            metadata: {
              labels,
              annotations: localKeys === undefined ? {} : { "geocrop.io/token-keys": localKeys.hash },
            },
            spec: {
              ...restrictedPod,
              serviceAccountName: account.metadata.name,
              ...(args.replicas > 1 ? spread(selector.matchLabels) : {}),
              containers: [
                {
                  ...restrictedContainer,
                  name: "signed-url-api",
                  image: args.image,
                  env: environment(args).map(([variable, value]) => ({ name: variable, value })),
                  ports: [
                    { name: "https", containerPort: port },
                    { name: "metrics", containerPort: metricsPort },
                  ],
                  resources: resourceRequirements(args.resources),
                  readinessProbe: { ...httpsProbe("/readyz", port), periodSeconds: 3 },
                  livenessProbe: { ...httpsProbe("/healthz", port), periodSeconds: 10 },
                  volumeMounts: [
                    { name: "tls", mountPath: "/etc/geocrop/tls", readOnly: true },
                    { name: "credentials", mountPath: "/etc/geocrop/credentials", readOnly: true },
                    ...(localKeys === undefined
                      ? []
                      : [{ name: "jwks", mountPath: "/etc/geocrop/jwks", readOnly: true }]),
                    ...(issuerAuthority === undefined
                      ? []
                      : [{ name: "issuer", mountPath: "/etc/geocrop/issuer", readOnly: true }]),
                  ],
                },
              ],
              volumes: [
                { name: "tls", secret: { secretName: tlsSecretName("geocrop-api") } },
                { name: "credentials", secret: { secretName: credentialsSecretName("api-signer") } },
                ...(localKeys === undefined
                  ? []
                  : [{ name: "jwks", configMap: { name: localKeys.configMap } }]),
                ...(issuerAuthority === undefined
                  ? []
                  : [{ name: "issuer", configMap: { name: issuerAuthority.metadata.name } }]),
              ],
            },
          },
        },
      },
      { parent: this, customTimeouts: { create: "3m", update: "5m" } },
    );
    this.registerOutputs({});
  }
}

/**
 * Node's heap, so that the whole process stays within its memory: half of it for what lives, little for what is new.
 * By itself Node sees a heap of the container's whole limit, and is killed before it cleans up.
 */
export function heapFlags(memory: string): string[] {
  const half = Math.floor(bytesOf(memory) / 2 / 1024 ** 2);
  return [`--max-old-space-size=${half}`, "--max-semi-space-size=4"];
}

/** The container's settings; none of them is secret. */
function environment(args: SignedUrlApiArgs): [name: string, value: string][] {
  const { tokens, adminClaim, allowedOrigins, rateLimits } = args;
  return [
    ["NODE_OPTIONS", heapFlags(args.resources.memory).join(" ")],
    ["PORT", String(port)],
    ["METRICS_PORT", String(metricsPort)],
    ["TLS_DIR", "/etc/geocrop/tls"],
    ["CREDENTIALS_DIR", "/etc/geocrop/credentials"],
    ["S3_ENDPOINT", args.minioEndpoint],
    ["S3_CA_FILE", "/etc/geocrop/tls/ca.crt"],
    ["S3_REGION", minioRegion],
    ["RESULTS_BUCKET", args.resultsBucket],
    ["DOWNLOAD_URL", args.downloadUrl],
    ["URL_EXPIRY_SECONDS", String(args.urlExpirySeconds)],
    ["JWT_ISSUER", tokens.issuer],
    ["JWT_AUDIENCE", tokens.audience],
    ["JWT_ALGORITHMS", tokens.algorithms.join(",")],
    ...keySettings(tokens),
    ...(adminClaim === undefined
      ? []
      : [["ADMIN_CLAIM", `${adminClaim.claim}=${adminClaim.value}`] satisfies [string, string]]),
    ["CORS_ORIGINS", allowedOrigins.join(",")],
    ["RATE_PER_SUBJECT", String(rateLimits.perSubject)],
    ["RATE_PER_ADDRESS", String(rateLimits.perAddress)],
  ];
}

/** Where the issuer's public keys are. */
function keySettings({ keys }: TokenRules): [name: string, value: string][] {
  if (!("url" in keys)) return [["JWKS_FILE", jwksFile]];
  const url: [string, string] = ["JWKS_URL", keys.url];
  return keys.ca === undefined ? [url] : [url, ["JWKS_CA_FILE", issuerCaFile]];
}
