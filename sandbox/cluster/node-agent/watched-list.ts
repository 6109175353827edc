import https from "node:https";
import { type KubeConfig, type KubernetesObject, ListWatch, Watch } from "@kubernetes/client-node";
import { z } from "zod";
import type { Log } from "./log.ts";

const reconnectDelayMs = 1000;

const listSchema = z.looseObject({
  metadata: z.looseObject({ resourceVersion: z.string() }),
  items: z.array(z.custom<KubernetesObject>((item) => typeof item === "object" && item !== null)),
});

/** The live list of all objects of one kind, exactly as the API server sends them. */
export interface WatchedList {
  readonly objects: () => readonly unknown[];
  /** Whether the list was complete at least once. */
  readonly synced: () => boolean;
}

/**
 * Starts watching `path` (such as `/api/v1/pods`). A lost connection is taken up again for ever.
 *
 * @param onChange called after every change, and when the first list is there.
 */
export function watchList(kubeConfig: KubeConfig, path: string, onChange: () => void, log: Log): WatchedList {
  let synced = false;
  const informer = new ListWatch(path, new Watch(kubeConfig), () => listRaw(kubeConfig, path), false);
  const start = async (): Promise<void> => {
    await informer.start();
    if (synced || informer.latestResourceVersion() === "") return;
    synced = true;
    onChange();
  };
  informer.on("change", onChange);
  informer.on("error", (error: unknown) => {
    log(`watch ${path}: ${error instanceof Error ? error.message : String(error)}`);
    setTimeout(() => void start(), reconnectDelayMs);
  });
  void start();
  return { objects: () => informer.list(), synced: () => synced };
}

/** Not the client's typed list: that drops every field it does not know, and an unknown one must be seen. */
async function listRaw(kubeConfig: KubeConfig, path: string): Promise<z.infer<typeof listSchema>> {
  const cluster = kubeConfig.getCurrentCluster();
  if (!cluster) throw new Error("the kubeconfig has no current cluster");
  const options: https.RequestOptions = {};
  await kubeConfig.applyToHTTPSOptions(options);
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  https
    .get(cluster.server + path, options, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const body = Buffer.concat(chunks).toString("utf8");
        if (response.statusCode === 200) resolve(body);
        else reject(new Error(`list ${path}: HTTP ${response.statusCode}: ${body.slice(0, 200)}`));
      });
    })
    .setTimeout(10_000, () => reject(new Error(`list ${path}: no answer`)))
    .on("error", reject);
  return listSchema.parse(JSON.parse(await promise));
}
