import * as kubernetes from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { tlsSecretName } from "./certificates.ts";
import { credentialsSecretName } from "./credentials.ts";
import { exposedPort, type Exposure, routeTo } from "./exposure.ts";
import { minioRegion } from "./minio-server.ts";
import type { TokenRules } from "./token-issuer.ts";
import {
  httpsProbe,
  notAwaited,
  podLabels,
  resourceRequirements,
  restrictedContainer,
  restrictedPod,
  spread,
} from "./workload.ts";

const labels = podLabels("geocrop-api", "signed-url-api");
/** Not `app` alone: job submitters carry that label too. */
const selector = {
  matchLabels: { app: "geocrop-api", "app.kubernetes.io/component": "signed-url-api" },
};
const port = 8443;
const jwksFile = "/etc/geocrop/jwks/jwks.json";

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
}

/** Gives owners of results short-lived URLs to download them by. */
export class SignedUrlApi extends pulumi.ComponentResource {
  constructor(name: string, args: SignedUrlApiArgs, opts?: pulumi.ComponentResourceOptions) {
    super("geocrop:storage:SignedUrlApi", name, {}, opts);
    const parent = { parent: this };
    const { namespace } = args;
    const { keys } = args.tokens;
    const localKeys = "configMap" in keys ? keys : undefined;

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
                  ports: [{ name: "https", containerPort: port }],
                  resources: resourceRequirements(args.resources),
                  readinessProbe: { ...httpsProbe("/readyz", port), periodSeconds: 3 },
                  livenessProbe: { ...httpsProbe("/healthz", port), periodSeconds: 10 },
                  volumeMounts: [
                    { name: "tls", mountPath: "/etc/geocrop/tls", readOnly: true },
                    { name: "credentials", mountPath: "/etc/geocrop/credentials", readOnly: true },
                    ...(localKeys === undefined
                      ? []
                      : [{ name: "jwks", mountPath: "/etc/geocrop/jwks", readOnly: true }]),
                  ],
                },
              ],
              volumes: [
                { name: "tls", secret: { secretName: tlsSecretName("geocrop-api") } },
                { name: "credentials", secret: { secretName: credentialsSecretName("api-signer") } },
                ...(localKeys === undefined
                  ? []
                  : [{ name: "jwks", configMap: { name: localKeys.configMap } }]),
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

/** The container's settings; none of them is secret. */
function environment(args: SignedUrlApiArgs): [name: string, value: string][] {
  return [
    ["PORT", String(port)],
    ["TLS_DIR", "/etc/geocrop/tls"],
    ["CREDENTIALS_DIR", "/etc/geocrop/credentials"],
    ["S3_ENDPOINT", args.minioEndpoint],
    ["S3_CA_FILE", "/etc/geocrop/tls/ca.crt"],
    ["S3_REGION", minioRegion],
    ["RESULTS_BUCKET", args.resultsBucket],
    ["DOWNLOAD_URL", args.downloadUrl],
    ["URL_EXPIRY_SECONDS", String(args.urlExpirySeconds)],
    ["JWT_ISSUER", args.tokens.issuer],
    ["JWT_AUDIENCE", args.tokens.audience],
    ["JWT_ALGORITHMS", args.tokens.algorithms.join(",")],
    "url" in args.tokens.keys ? ["JWKS_URL", args.tokens.keys.url] : ["JWKS_FILE", jwksFile],
  ];
}
