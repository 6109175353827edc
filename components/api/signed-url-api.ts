import * as kubernetes from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import {
  certificateFiles,
  credentialsSecretName,
  headlessServices,
  metricsPort,
  minioRegion,
  mountPaths,
  resultsBucket,
  servers,
} from "../../config/names.ts";
import { bytesOf } from "../../config/quantity.ts";
import type { Settings } from "../../config/schema.ts";
import { exposedPort, routeTo } from "../kubernetes/exposure.ts";
import { serverWorkload } from "../kubernetes/server-workload.ts";
import { type Mount, mount, mountTls, skipAwait } from "../kubernetes/workload.ts";
import type { TokenRules } from "./token-issuer.ts";

const { port, container, ...server } = servers.api;

/** Not `app` alone: job submitters carry that label too. */
const podSelector = { app: server.name, "app.kubernetes.io/component": server.component };

const jwksDirectory = "/etc/geocrop/jwks";
const issuerDirectory = "/etc/geocrop/issuer";

type ApiSettings = Omit<Settings["api"], "auth">;

export interface SignedUrlApiArgs extends ApiSettings {
  readonly namespace: string;
  /** Pinned by digest. */
  readonly image: pulumi.Input<string>;
  readonly minioEndpoint: string;
  /** The gateway's public origin: what is signed as Host. */
  readonly downloadUrl: string;
  readonly tokens: TokenRules;
  /** Web origins whose pages may call the API. */
  readonly allowedOrigins: readonly string[];
}

/** Gives owners of results short-lived URLs to download them by. */
export class SignedUrlApi extends pulumi.ComponentResource {
  constructor(name: string, args: SignedUrlApiArgs, opts?: pulumi.ComponentResourceOptions) {
    super("geocrop:storage:SignedUrlApi", name, {}, opts);
    const parent = { parent: this };
    const { namespace } = args;
    const { keys } = args.tokens;

    const workload = serverWorkload(
      name,
      { namespace, server, podSelector, service: exposedPort(args.expose, port), hasDisruptionBudget: true },
      parent,
    );
    routeTo(name, server.name, namespace, args.publicUrl, args.expose, parent);
    // A Service of its own, so that the metrics are on no port that is open to the outside; headless, for Prometheus
    // asks every pod.
    new kubernetes.core.v1.Service(
      `${name}-metrics`,
      {
        metadata: { ...workload.metadata, name: headlessServices.apiMetrics, annotations: skipAwait },
        spec: {
          clusterIP: "None",
          ports: [{ name: "metrics", port: metricsPort, targetPort: metricsPort }],
          selector: podSelector,
        },
      },
      parent,
    );
    new kubernetes.apps.v1.Deployment(
      `${name}-deployment`,
      {
        metadata: workload.metadata,
        spec: {
          replicas: args.replicas,
          selector: workload.selector,
          template: workload.pod({
            container,
            image: args.image,
            replicas: args.replicas,
            environment: environment(args),
            ports: { https: port, metrics: metricsPort },
            resources: args.resources,
            probes: { ready: "/readyz", alive: "/healthz" },
            mounts: [
              mountTls(server.name),
              mount("credentials", mountPaths.credentials, {
                secret: { secretName: credentialsSecretName("api-signer") },
              }),
              ...this.#keyMounts(name, args),
            ],
            annotations: "configMap" in keys ? { "geocrop.io/token-keys": keys.hash } : {},
          }),
        },
      },
      { parent: this, customTimeouts: { create: "3m", update: "5m" } },
    );
    this.registerOutputs({});
  }

  /** The issuer's public keys, or the authority of the server that has them, where there is one. */
  #keyMounts(name: string, { namespace, tokens: { keys } }: SignedUrlApiArgs): readonly Mount[] {
    if ("configMap" in keys) return [mount("jwks", jwksDirectory, { configMap: { name: keys.configMap } })];
    if (keys.ca === undefined) return [];
    const authority = new kubernetes.core.v1.ConfigMap(
      `${name}-issuer-authority`,
      { metadata: { name: "issuer-authority", namespace }, data: { [certificateFiles.authority]: keys.ca } },
      { parent: this },
    );
    return [mount("issuer", issuerDirectory, { configMap: { name: authority.metadata.name } })];
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
    ["TLS_DIR", mountPaths.tls],
    ["CREDENTIALS_DIR", mountPaths.credentials],
    ["S3_ENDPOINT", args.minioEndpoint],
    ["S3_CA_FILE", `${mountPaths.tls}/${certificateFiles.authority}`],
    ["S3_REGION", minioRegion],
    ["RESULTS_BUCKET", resultsBucket],
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
  if (!("url" in keys)) return [["JWKS_FILE", `${jwksDirectory}/jwks.json`]];
  const url: [string, string] = ["JWKS_URL", keys.url];
  return keys.ca === undefined
    ? [url]
    : [url, ["JWKS_CA_FILE", `${issuerDirectory}/${certificateFiles.authority}`]];
}
