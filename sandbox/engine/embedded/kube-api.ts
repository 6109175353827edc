import * as https from "node:https";
import { text } from "node:stream/consumers";

import type { KubeConfig } from "@kubernetes/client-node";
import { z } from "zod";

/**
 * Where the server says that it failed.
 * @see https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
 */
export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const statusSchema = z.looseObject({ message: z.string() });
const resourcesSchema = z.looseObject({
  resources: z.array(z.looseObject({ name: z.string(), kind: z.string(), namespaced: z.boolean() })),
});
const headersSchema = z.record(z.string(), z.string());
const listSchema = z.looseObject({ items: z.array(z.unknown()) });

export interface ObjectName {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string | undefined;
}

const second = 1000;
const attempts = 4;

/**
 * The few calls that are needed, in plain JSON. Not client-node's KubernetesObjectApi, because that writes objects by
 * its own models: it drops every field that they do not know, and `from` of a NetworkPolicy's rule (`_from` in the
 * model), which opens the rule to everybody.
 */
export class KubeApi {
  readonly server: string;
  readonly #kubeConfig: KubeConfig;
  readonly #namespace: string;
  readonly #kinds = new Map<string, Promise<z.infer<typeof resourcesSchema>>>();
  #connection: Promise<https.RequestOptions> | undefined;

  constructor(kubeConfig: KubeConfig) {
    this.server = kubeConfig.getCurrentCluster()?.server ?? "";
    this.#kubeConfig = kubeConfig;
    this.#namespace = kubeConfig.getContextObject(kubeConfig.getCurrentContext())?.namespace ?? "default";
  }

  async read(name: ObjectName): Promise<unknown> {
    try {
      return await this.#request("GET", await this.#path(name));
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return undefined;
      throw error;
    }
  }

  /** Server-side apply. */
  async apply(name: ObjectName, object: unknown, fieldManager: string, dryRun: boolean): Promise<unknown> {
    const query = new URLSearchParams({ fieldManager, force: "true", ...(dryRun && { dryRun: "All" }) });
    return this.#request(
      "PATCH",
      `${await this.#path(name)}?${query.toString()}`,
      object,
      "application/apply-patch+yaml",
    );
  }

  /** Asks for an object's deletion, dependents first. */
  async delete(name: ObjectName): Promise<void> {
    try {
      await this.#request("DELETE", await this.#path(name), { propagationPolicy: "Foreground" });
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) throw error;
    }
  }

  async list(plural: string, namespace: string, query: Record<string, string>): Promise<unknown[]> {
    const path = `/api/v1/namespaces/${namespace}/${plural}?${new URLSearchParams(query).toString()}`;
    return listSchema.parse(await this.#request("GET", path)).items;
  }

  async #path({ apiVersion, kind, name, namespace }: ObjectName): Promise<string> {
    const base = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    const discovery = this.#kinds.get(base) ?? this.#discover(base);
    this.#kinds.set(base, discovery);
    const resource = (await discovery).resources.find((one) => one.kind === kind && !one.name.includes("/"));
    if (resource === undefined) {
      this.#kinds.delete(base); // its CustomResourceDefinition may come yet
      throw new ApiError(404, `the cluster has no ${kind} of ${apiVersion}: is what defines it installed?`);
    }
    const scope = resource.namespaced ? `/namespaces/${namespace ?? this.#namespace}` : "";
    return `${base}${scope}/${resource.name}/${encodeURIComponent(name)}`;
  }

  async #discover(base: string): Promise<z.infer<typeof resourcesSchema>> {
    try {
      return resourcesSchema.parse(await this.#request("GET", base));
    } catch (error) {
      this.#kinds.delete(base);
      if (error instanceof ApiError && error.status === 404) return { resources: [] };
      throw error;
    }
  }

  /** A server under load, or in change of leader, answers with 5xx or not at all for a moment: asks again. */
  async #request(method: string, path: string, body?: unknown, type = "application/json"): Promise<unknown> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#send(method, path, body, type);
      } catch (error) {
        const isFault = error instanceof ApiError && error.status !== 429 && error.status < 500;
        if (isFault || attempt === attempts) throw error;
        await new Promise((resolve) => {
          setTimeout(resolve, attempt * second);
        });
      }
    }
  }

  async #send(method: string, path: string, body: unknown, type: string): Promise<unknown> {
    this.#connection ??= this.#connect();
    const options = await this.#connection;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const content = body === undefined ? "" : JSON.stringify(body);
    const request = https.request(`${this.server}${path}`, {
      ...options,
      method,
      headers: {
        ...headersSchema.parse(options.headers ?? {}),
        Accept: "application/json",
        "Content-Type": type,
        "Content-Length": Buffer.byteLength(content), // Node leaves it out of a DELETE, and the body then garbles the next request
      },
      timeout: 30 * second,
    });
    request.on("timeout", () => request.destroy(new Error("no answer within 30 s")));
    request.on("error", (error) => {
      reject(
        new Error(
          `the Kubernetes API at ${this.server} can't be reached (${error.message}): is the cluster up?`,
        ),
      );
    });
    request.on("response", (response) => {
      const status = response.statusCode ?? 0;
      text(response).then((answer) => {
        if (status >= 200 && status < 300) return resolve(JSON.parse(answer));
        return reject(new ApiError(status, failure(status, answer)));
      }, reject);
    });
    request.end(content);
    return promise;
  }

  async #connect(): Promise<https.RequestOptions> {
    if (this.server === "")
      throw new Error("there is no cluster: set KUBECONFIG or the provider's kubeconfig");
    const options: https.RequestOptions = {};
    await this.#kubeConfig.applyToHTTPSOptions(options);
    const isProxied = this.#kubeConfig.getCurrentCluster()?.proxyUrl !== undefined;
    return isProxied ? options : { ...options, agent: new https.Agent({ keepAlive: true, maxSockets: 8 }) };
  }
}

function failure(status: number, answer: string): string {
  try {
    const parsed = statusSchema.safeParse(JSON.parse(answer));
    if (parsed.success) return parsed.data.message;
  } catch {
    // not JSON: not the API server's own answer
  }
  return `the Kubernetes API answered with HTTP ${status}`;
}
