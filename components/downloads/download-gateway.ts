import * as kubernetes from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { resultsBucket, servers } from "../../config/names.ts";
import { bytesOf } from "../../config/quantity.ts";
import type { Settings } from "../../config/schema.ts";
import { contentHash } from "../kubernetes/content-hash.ts";
import { exposedPort, routeTo } from "../kubernetes/exposure.ts";
import { serverWorkload } from "../kubernetes/server-workload.ts";
import { mount, mountTls, mountTmp } from "../kubernetes/workload.ts";
import { downloadsThatFit, nginxConfig } from "./download-gateway-config.ts";

const { port, container, ...server } = servers.downloads;

type DownloadSettings = Settings["downloads"];

export interface DownloadGatewayArgs extends DownloadSettings {
  readonly namespace: string;
  /** Pinned by digest; nginx 1.22 or later. */
  readonly image: pulumi.Input<string>;
  /** nginx reads the authority that it verifies MinIO by at its start: the pods restart when this changes. */
  readonly authorityHash: pulumi.Input<string>;
  /** MinIO's host and port in the cluster. */
  readonly upstream: string;
  /** Web origins whose pages may read downloads. */
  readonly allowedOrigins: readonly string[];
}

/** The only endpoint from outside to MinIO: it lets signed downloads of results pass, and nothing else. */
export class DownloadGateway extends pulumi.ComponentResource {
  constructor(name: string, args: DownloadGatewayArgs, opts?: pulumi.ComponentResourceOptions) {
    super("geocrop:storage:DownloadGateway", name, {}, opts);
    const parent = { parent: this };
    const { namespace } = args;
    const nginx = nginxConfig({
      upstream: args.upstream,
      bucket: resultsBucket,
      limits: args.limits,
      downloadsAtOnce: downloadsThatFit(bytesOf(args.resources.memory)),
      trustedProxies: args.trustedProxies,
      allowedOrigins: args.allowedOrigins,
    });

    const config = new kubernetes.core.v1.ConfigMap(
      `${name}-config`,
      { metadata: { name: server.name, namespace }, data: { "nginx.conf": nginx } },
      parent,
    );
    const workload = serverWorkload(
      name,
      { namespace, server, service: exposedPort(args.expose, port), hasDisruptionBudget: true },
      parent,
    );
    routeTo(name, server.name, namespace, args.publicUrl, args.expose, parent);
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
            ports: { https: port },
            resources: args.resources,
            probes: { ready: "/healthz", alive: "/healthz" },
            mounts: [
              mount(
                "config",
                "/etc/nginx/nginx.conf",
                { configMap: { name: config.metadata.name } },
                "nginx.conf",
              ),
              mountTls(server.name),
              mountTmp,
            ],
            annotations: {
              "geocrop.io/authority": args.authorityHash,
              "geocrop.io/config": contentHash(nginx),
            },
          }),
        },
      },
      { parent: this, customTimeouts: { create: "3m", update: "5m" } },
    );
    this.registerOutputs({});
  }
}
