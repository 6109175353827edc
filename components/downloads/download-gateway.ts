import * as kubernetes from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { tlsSecretName } from "../tls/certificates.ts";
import { contentHash } from "../kubernetes/content-hash.ts";
import { downloadsThatFit, type Limits, nginxConfig } from "./download-gateway-config.ts";
import { exposedPort, routeTo } from "../kubernetes/exposure.ts";
import type { Exposure } from "../../config/exposure.ts";
import { bytesOf } from "../../config/quantity.ts";
import {
  httpsProbe,
  notAwaited,
  podLabels,
  resourceRequirements,
  restrictedContainer,
  restrictedPod,
  spread,
} from "../kubernetes/workload.ts";

const labels = podLabels("geocrop-downloads", "download-gateway");
const selector = { matchLabels: { app: "geocrop-downloads" } };
const port = 8443;

export interface DownloadGatewayArgs {
  readonly namespace: string;
  /** Pinned by digest; nginx 1.22 or later. */
  readonly image: pulumi.Input<string>;
  readonly replicas: number;
  readonly expose: Exposure;
  /** What URLs are signed for. */
  readonly publicUrl: string;
  /** For each client address. */
  readonly limits: Limits;
  /** Address ranges of proxies before the gateway, whose X-Forwarded-For is believed. */
  readonly trustedProxies: readonly string[];
  /** nginx reads the authority that it verifies MinIO by at its start: the pods restart when this changes. */
  readonly authorityHash: pulumi.Input<string>;
  readonly resources: { readonly cpu: string; readonly memory: string };
  /** MinIO's host and port in the cluster. */
  readonly upstream: string;
  readonly resultsBucket: string;
  /** Web origins whose pages may read downloads. */
  readonly allowedOrigins: readonly string[];
}

/**
 * The one door from outside to MinIO, which no network policy lets anybody else near: it passes signed
 * downloads of results, and nothing else.
 */
export class DownloadGateway extends pulumi.ComponentResource {
  constructor(name: string, args: DownloadGatewayArgs, opts?: pulumi.ComponentResourceOptions) {
    super("geocrop:storage:DownloadGateway", name, {}, opts);
    const parent = { parent: this };
    const { namespace } = args;
    const nginx = nginxConfig({
      upstream: args.upstream,
      bucket: args.resultsBucket,
      limits: args.limits,
      downloadsAtOnce: downloadsThatFit(bytesOf(args.resources.memory)),
      trustedProxies: args.trustedProxies,
      allowedOrigins: args.allowedOrigins,
    });

    const config = new kubernetes.core.v1.ConfigMap(
      `${name}-config`,
      { metadata: { name: "geocrop-downloads", namespace }, data: { "nginx.conf": nginx } },
      parent,
    );
    const account = new kubernetes.core.v1.ServiceAccount(
      `${name}-account`,
      { metadata: { name: "geocrop-downloads", namespace }, automountServiceAccountToken: false },
      parent,
    );
    new kubernetes.core.v1.Service(
      `${name}-service`,
      {
        metadata: { name: "geocrop-downloads", namespace, labels, annotations: notAwaited },
        spec: { ...exposedPort(args.expose), selector: selector.matchLabels },
      },
      parent,
    );
    routeTo(name, "geocrop-downloads", namespace, args.publicUrl, args.expose, parent);
    new kubernetes.policy.v1.PodDisruptionBudget(
      `${name}-disruptions`,
      { metadata: { name: "geocrop-downloads", namespace }, spec: { maxUnavailable: 1, selector } },
      parent,
    );
    new kubernetes.apps.v1.Deployment(
      `${name}-deployment`,
      {
        metadata: { name: "geocrop-downloads", namespace, labels },
        spec: {
          replicas: args.replicas,
          selector,
          template: {
            metadata: {
              labels,
              annotations: {
                "geocrop.io/authority": args.authorityHash,
                "geocrop.io/config": contentHash(nginx),
              },
            },
            spec: {
              ...restrictedPod,
              serviceAccountName: account.metadata.name,
              ...(args.replicas > 1 ? spread(selector.matchLabels) : {}),
              containers: [
                {
                  ...restrictedContainer,
                  name: "nginx",
                  image: args.image,
                  ports: [{ name: "https", containerPort: port }],
                  resources: resourceRequirements(args.resources),
                  readinessProbe: { ...httpsProbe("/healthz", port), periodSeconds: 3 },
                  livenessProbe: { ...httpsProbe("/healthz", port), periodSeconds: 10 },
                  volumeMounts: [
                    {
                      name: "config",
                      mountPath: "/etc/nginx/nginx.conf",
                      subPath: "nginx.conf",
                      readOnly: true,
                    },
                    { name: "tls", mountPath: "/etc/geocrop/tls", readOnly: true },
                    { name: "tmp", mountPath: "/tmp" },
                  ],
                },
              ],
              volumes: [
                { name: "config", configMap: { name: config.metadata.name } },
                { name: "tls", secret: { secretName: tlsSecretName("geocrop-downloads") } },
                { name: "tmp", emptyDir: { sizeLimit: "256Mi" } },
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
