import { CoreV1Api, type KubeConfig, type V1Container, type V1Pod } from "@kubernetes/client-node";

import { tlsSecretName } from "../../components/tls/certificates.ts";
import { credentialsSecretName, type Identity } from "../../components/access/credentials.ts";
import { minioPort } from "../../components/minio/minio-server.ts";
import type { Settings } from "../../config/schema.ts";
import { readSecret } from "../kube/dev-cluster.ts";
import { execInPod } from "../kube/exec.ts";
import { connectToPod, PodHttps } from "../kube/forward.ts";
import { isReady } from "../kube/pods.ts";
import { type KeyPair, Minio } from "./minio.ts";

/** The stack's servers and the port that their pods listen on. */
export const servers = {
  minio: minioPort,
  "geocrop-api": 8443,
  "geocrop-downloads": 8443,
  "audit-receiver": 8443,
} as const;
export type ServerName = keyof typeof servers;
export const serverNames = Object.keys(servers).filter((name): name is ServerName => name in servers);

export interface TargetOptions {
  readonly cluster: KubeConfig;
  readonly namespace: string;
  /** What the stack declares. */
  readonly settings: Settings;
  /** Image of the probe pods: anything with `node` in it. */
  readonly image: string;
  /** Tokens of a user who may download and of one who may not, where there is no development issuer. */
  readonly tokens?: { readonly owner: string; readonly stranger: string } | undefined;
}

/** A ready pod of a server's. */
export interface ServerPod {
  readonly name: string;
  readonly ip: string | undefined;
  readonly container: V1Container | undefined;
}

/** A live deployment, and every way that the checks have to it: all of them go through the Kubernetes API. */
export class Target {
  readonly cluster: KubeConfig;
  readonly namespace: string;
  readonly settings: Settings;
  readonly image: string;
  readonly tokens: TargetOptions["tokens"];
  readonly core: CoreV1Api;
  readonly #secrets = new Map<string, Promise<Readonly<Record<string, string>>>>();
  readonly #https = new Map<ServerName, Promise<PodHttps>>();
  /** What no output may show. */
  readonly #secretValues = new Set<string>();
  readonly #cleanups: (() => Promise<void>)[] = [];

  constructor({ cluster, namespace, settings, image, tokens }: TargetOptions) {
    this.cluster = cluster;
    this.namespace = namespace;
    this.settings = settings;
    this.image = image;
    this.tokens = tokens;
    this.core = cluster.makeApiClient(CoreV1Api);
    if (tokens !== undefined) this.keepSecret(tokens.owner, tokens.stranger);
  }

  /** Takes values out of everything that is printed. */
  keepSecret(...values: readonly string[]): void {
    for (const value of values) if (value.length >= 8) this.#secretValues.add(value);
  }

  redact(text: string): string {
    let safe = text.replaceAll(/(X-Amz-(?:Signature|Credential|Security-Token)=)[^&\s"']*/gi, "$1…");
    for (const value of this.#secretValues) safe = safe.replaceAll(value, "…");
    return safe;
  }

  secret(name: string): Promise<Readonly<Record<string, string>>> {
    const known =
      this.#secrets.get(name) ??
      readSecret(this.cluster, this.namespace, name).then((values) => {
        this.keepSecret(
          ...Object.entries(values).flatMap(([key, value]) => (key.endsWith(".crt") ? [] : [value])),
        );
        return values;
      });
    this.#secrets.set(name, known);
    return known;
  }

  async credentials(identity: Identity): Promise<KeyPair> {
    const name = credentialsSecretName(identity);
    const { "access-key": accessKey, "secret-key": secretKey } = await this.secret(name);
    if (accessKey === undefined || secretKey === undefined) throw new Error(`Secret ${name} has no key pair`);
    return { accessKey, secretKey };
  }

  async pods(): Promise<V1Pod[]> {
    return (await this.core.listNamespacedPod({ namespace: this.namespace })).items;
  }

  /** A pod behind a server's Service. @throws Error when none is ready. */
  async podOf(server: ServerName): Promise<ServerPod> {
    const { spec } = await this.core.readNamespacedService({ name: server, namespace: this.namespace });
    const labelSelector = Object.entries(spec?.selector ?? {})
      .map(([key, value]) => `${key}=${value}`)
      .join(",");
    const { items } = await this.core.listNamespacedPod({ namespace: this.namespace, labelSelector });
    const ready = items.find(isReady);
    const name = ready?.metadata?.name;
    if (ready === undefined || name === undefined) throw new Error(`no pod of ${server} is ready`);
    return { name, ip: ready.status?.podIP, container: ready.spec?.containers[0] };
  }

  hostOf(server: ServerName): string {
    return `${server}.${this.namespace}.svc.cluster.local`;
  }

  async authorityOf(server: ServerName): Promise<string> {
    const name = tlsSecretName(server);
    const { "ca.crt": ca } = await this.secret(name);
    if (ca === undefined) throw new Error(`Secret ${name} has no ca.crt`);
    return ca;
  }

  https(server: ServerName): Promise<PodHttps> {
    const known = this.#https.get(server) ?? this.#openHttps(server);
    this.#https.set(server, known);
    return known;
  }

  async minio(): Promise<Minio> {
    return new Minio(await this.https("minio"), this.hostOf("minio"));
  }

  /** A connection of its own to a server's pod. */
  async connect(server: ServerName) {
    return connectToPod(this.cluster, this.namespace, (await this.podOf(server)).name, servers[server]);
  }

  /** Runs a command in a pod. @returns what it printed. @throws Error when it fails. */
  async execute(namespace: string, pod: string, container: string, command: string[]): Promise<string> {
    return execInPod(this.cluster, { namespace, pod, container }, command);
  }

  /** Has something cleaned up by `close`, whatever happens. */
  onClose(cleanup: () => Promise<void>): void {
    this.#cleanups.push(cleanup);
  }

  /** Cleans up what was made, and closes what is open. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#cleanups.splice(0).map((cleanup) => cleanup()));
    for (const https of this.#https.values()) (await https.catch(() => undefined))?.close();
  }

  async #openHttps(server: ServerName): Promise<PodHttps> {
    const { name } = await this.podOf(server);
    return new PodHttps(() => connectToPod(this.cluster, this.namespace, name, servers[server]), {
      ca: await this.authorityOf(server),
      servername: this.hostOf(server),
    });
  }
}
