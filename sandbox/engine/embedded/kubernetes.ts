import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

import { KubeConfig } from "@kubernetes/client-node";
import { z } from "zod";

import { ApiError, KubeApi } from "./kube-api.ts";
import { pause, type Applied, type Declared, type Handler, type Location, type Run } from "./monitor.ts";
import { objectSchema, podTrouble, unreadyReason, type Live } from "./readiness.ts";
import type { Recorded } from "./state.ts";
import type { JsonObject } from "./values.ts";

const fieldManager = "geocrop-embedded";
const second = 1000;
const defaultTimeout = 600 * second; // as the real provider's

const targetSchema = z.strictObject({
  apiVersion: z.string(),
  kind: z.string(),
  name: z.string(),
  namespace: z.string().optional(),
});
type Target = z.infer<typeof targetSchema>;

const map = z.record(z.string(), z.json());
const selectorSchema = z.looseObject({
  selector: z.looseObject({ matchLabels: z.record(z.string(), z.string()) }),
});
const eventSchema = z.looseObject({ message: z.string() });

/** Objects that take data with them when they go: never deleted only to be made anew. */
const keptKinds = new Set([
  "CustomResourceDefinition",
  "Namespace",
  "PersistentVolume",
  "PersistentVolumeClaim",
  "StatefulSet",
]);

const providerSchema = z.looseObject({ kubeconfig: z.string().optional(), context: z.string().optional() });

const stuckHint = "A pod of an earlier revision that never got ready is not replaced by itself: delete it.";

/** Objects whose pods or contents take time to go, and in whose way a successor would be. */
const slowToGo = new Set([
  "DaemonSet",
  "Deployment",
  "Job",
  "Namespace",
  "PersistentVolumeClaim",
  "Pod",
  "StatefulSet",
]);

/** Field ownership goes by `data`, so what is written as `stringData` is sent as the server stores it. */
function asStored(inputs: JsonObject): JsonObject {
  const { stringData, ...rest } = inputs;
  if (stringData === undefined || inputs["kind"] !== "Secret") return inputs;
  const texts = z.record(z.string(), z.string()).parse(stringData);
  const encoded = Object.entries(texts).map(([key, text]) => [key, Buffer.from(text).toString("base64")]);
  return { ...rest, data: { ...map.parse(rest["data"] ?? {}), ...Object.fromEntries(encoded) } };
}

/** Without what changes by itself, or with every write. */
function comparable({ status: _status, ...object }: Live): unknown {
  const {
    managedFields: _fields,
    resourceVersion: _version,
    generation: _generation,
    ...metadata
  } = object.metadata;
  return { ...object, metadata };
}

function outputsOf(live: Live): JsonObject {
  const { managedFields: _fields, ...metadata } = live.metadata;
  return map.parse({ ...live, metadata });
}

const immutable =
  /immutable|updates to|may not be (?:changed|updated)|(?:cannot|can't) be (?:changed|updated)/i;

function isInvalid(error: unknown): error is ApiError {
  return error instanceof ApiError && error.status === 422;
}

/** Waits until a deleted object is gone. */
async function untilGone(api: KubeApi, target: Target, run: Run): Promise<void> {
  const deadline = Date.now() + defaultTimeout;
  while ((await api.read(target)) !== undefined) {
    if (Date.now() > deadline) {
      throw new Error(`is still there ${defaultTimeout / second} s after its deletion: see its finalizers`);
    }
    await pause(second / 2, run.signal);
  }
}

/** What the pods of a workload, or else the last warning about it, say. */
async function trouble(api: KubeApi, { kind, metadata, spec }: Live): Promise<string | undefined> {
  const namespace = metadata.namespace ?? "default";
  const selector = selectorSchema.safeParse(spec);
  if (selector.success) {
    const labels = Object.entries(selector.data.selector.matchLabels).map((pair) => pair.join("="));
    const pods = await api.list("pods", namespace, { labelSelector: labels.join(",") });
    const reason = pods.map((pod) => podTrouble(pod)).find((text) => text !== undefined);
    if (reason !== undefined) return reason;
  }
  const fieldSelector = `type=Warning,involvedObject.kind=${kind},involvedObject.name=${metadata.name ?? ""}`;
  const events = await api.list("events", namespace, { fieldSelector });
  return eventSchema.safeParse(events.at(-1)).data?.message;
}

/** Kubernetes objects by server-side apply: the server does the diff and keeps the books on who owns which field. */
export class KubernetesObjects implements Handler {
  readonly #apis = new Map<string, KubeApi>();

  locate({ type, name, inputs }: Declared): Location {
    const { apiVersion, kind, metadata } = objectSchema.parse(inputs);
    const suffix = createHash("sha256").update(`${type}::${name}`).digest("hex").slice(0, 8);
    const objectName = metadata.name ?? `${name}-${suffix}`;
    const { namespace } = metadata;
    return {
      id: namespace === undefined ? objectName : `${namespace}/${objectName}`,
      target: { apiVersion, kind, name: objectName, ...(namespace !== undefined && { namespace }) },
    };
  }

  async apply(declared: Declared, run: Run): Promise<Applied> {
    const target = targetSchema.parse(this.locate(declared).target);
    const metadata = { ...map.parse(declared.inputs["metadata"] ?? {}), name: target.name };
    const object = { ...asStored(declared.inputs), metadata };
    const api = this.#api(declared.provider);
    const found = await api.read(target);
    let before = found === undefined ? undefined : objectSchema.parse(found);
    if (before?.metadata.deletionTimestamp !== undefined) {
      if (run.mode === "up") await untilGone(api, target, run);
      before = undefined;
    }
    if (run.mode === "destroy")
      return { change: "same", outputs: before === undefined ? {} : outputsOf(before) };
    if (run.mode === "preview") return preview(api, target, object, before);
    const { live, change } = await write(api, target, object, before, run);
    const ready = await untilReady(api, target, live, declared.timeout ?? defaultTimeout, run);
    return { change, outputs: outputsOf(ready) };
  }

  async remove(recorded: Recorded, provider: JsonObject | undefined, run: Run): Promise<void> {
    const target = targetSchema.parse(recorded.target);
    const api = this.#api(provider);
    await api.delete(target);
    if (slowToGo.has(target.kind)) await untilGone(api, target, run);
  }

  #api(provider: JsonObject | undefined): KubeApi {
    const settings = providerSchema.parse(provider ?? {});
    const key = JSON.stringify(settings);
    const known = this.#apis.get(key);
    if (known !== undefined) return known;
    const { kubeconfig, context } = settings;
    const kubeConfig = new KubeConfig();
    if (kubeconfig === undefined) kubeConfig.loadFromDefault();
    else if (/^\s*\{|\n/.test(kubeconfig)) kubeConfig.loadFromString(kubeconfig);
    else kubeConfig.loadFromString(readFileSync(kubeconfig, "utf8"));
    if (context !== undefined) kubeConfig.setCurrentContext(context);
    const api = new KubeApi(kubeConfig);
    this.#apis.set(key, api);
    return api;
  }
}

async function preview(
  api: KubeApi,
  target: Target,
  object: JsonObject,
  before: Live | undefined,
): Promise<Applied> {
  if (before === undefined) return { change: "create", outputs: {} };
  try {
    const after = objectSchema.parse(await api.apply(target, object, fieldManager, true));
    const isSame = isDeepStrictEqual(comparable(after), comparable(before));
    return { change: isSame ? "same" : "update", outputs: outputsOf(after) };
  } catch (error) {
    if (isInvalid(error)) return { change: "replace", outputs: outputsOf(before) };
    throw error;
  }
}

async function write(
  api: KubeApi,
  target: Target,
  object: JsonObject,
  before: Live | undefined,
  run: Run,
): Promise<{ live: Live; change: Applied["change"] }> {
  const apply = async () => objectSchema.parse(await api.apply(target, object, fieldManager, false));
  try {
    const live = await apply();
    const isSame = before?.metadata.resourceVersion === live.metadata.resourceVersion;
    return { live, change: before === undefined ? "create" : isSame ? "same" : "update" };
  } catch (error) {
    if (before === undefined || !isInvalid(error) || !immutable.test(error.message)) throw error;
    if (keptKinds.has(target.kind)) {
      throw new Error(
        `${error.message}\nThis ${target.kind} is not replaced by itself, for data may hang on it: undo the ` +
          `change, or delete the object by hand and run "up" again.`,
        { cause: error },
      );
    }
    await api.delete(target);
    await untilGone(api, target, run);
    return { live: await apply(), change: "replace" };
  }
}

async function untilReady(
  api: KubeApi,
  target: Target,
  applied: Live,
  timeout: number,
  run: Run,
): Promise<Live> {
  if (applied.metadata.annotations["pulumi.com/skipAwait"] === "true") return applied;
  const what = `${target.kind} ${target.name}`;
  const started = Date.now();
  let nextNote = started + 15 * second;
  let live = applied;
  for (;;) {
    const reason = unreadyReason(live);
    if (reason === undefined) return live;
    const isLate = Date.now() - started > timeout;
    if (isLate || Date.now() > nextNote) {
      const why = [reason, await trouble(api, live)].filter((text) => text !== undefined).join("; ");
      if (isLate) {
        const hint = target.kind === "StatefulSet" ? `\n${stuckHint}` : "";
        throw new Error(`was not ready within ${Math.round(timeout / second)} s: ${why}${hint}`);
      }
      run.note(`${what} is not ready yet: ${why}`);
      nextNote = Date.now() + 15 * second;
    }
    await pause(second / 2, run.signal);
    const now = await api.read(target);
    if (now === undefined) throw new Error("was deleted by somebody else while it was waited for");
    live = objectSchema.parse(now);
  }
}
