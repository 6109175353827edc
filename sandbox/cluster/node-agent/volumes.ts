import { chmod, mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { ApiException, CoreV1Api, type KubeConfig, type V1PersistentVolume } from "@kubernetes/client-node";
import { z } from "zod";
import type { Log } from "./log.ts";
import { reconcileLoop } from "./reconcile-loop.ts";
import { watchList } from "./watched-list.ts";

/** The provisioner named by the sandbox's StorageClass. */
export const provisioner = "geocrop.sandbox/local";

const provisionedBy = "pv.kubernetes.io/provisioned-by";

export const claimSchema = z.looseObject({
  metadata: z.looseObject({
    namespace: z.string(),
    name: z.string(),
    uid: z.string(),
    annotations: z.record(z.string(), z.string()).default({}),
    deletionTimestamp: z.string().optional(),
  }),
  spec: z.looseObject({
    storageClassName: z.string().optional(),
    volumeName: z.string().optional(),
    volumeMode: z.string().default("Filesystem"),
    accessModes: z.array(z.string()),
    resources: z.looseObject({ requests: z.looseObject({ storage: z.string() }) }),
  }),
});

export const volumeSchema = z.looseObject({
  metadata: z.looseObject({
    name: z.string(),
    uid: z.string(),
    annotations: z.record(z.string(), z.string()).default({}),
  }),
  spec: z.looseObject({
    persistentVolumeReclaimPolicy: z.string().optional(),
    claimRef: z.looseObject({ namespace: z.string(), name: z.string(), uid: z.string() }).optional(),
    local: z.looseObject({ path: z.string() }).optional(),
  }),
  status: z.looseObject({ phase: z.string().optional() }).default({}),
});

type Claim = z.infer<typeof claimSchema>;
type Volume = z.infer<typeof volumeSchema>;

export interface VolumesOptions {
  readonly storageClass: string;
  /** Absolute. All volumes are directories right below it. */
  readonly volumesDir: string;
  readonly nodeName: string;
}

/**
 * Whether this claim waits for a volume from here: of our class, not bound, and its pod was given this node
 * (volumeBindingMode WaitForFirstConsumer).
 */
export function wantsVolume(claim: Claim, { storageClass, nodeName }: VolumesOptions): boolean {
  const { metadata, spec } = claim;
  return (
    spec.storageClassName === storageClass &&
    spec.volumeMode === "Filesystem" &&
    spec.volumeName === undefined &&
    metadata.deletionTimestamp === undefined &&
    metadata.annotations["volume.kubernetes.io/selected-node"] === nodeName
  );
}

/** The volume for a claim. Its name and directory follow from the claim, so that a second try makes the same. */
export function volumeFor({ metadata, spec }: Claim, options: VolumesOptions): V1PersistentVolume {
  const { namespace, name, uid } = metadata;
  return {
    apiVersion: "v1",
    kind: "PersistentVolume",
    metadata: { name: `pvc-${uid}`, annotations: { [provisionedBy]: provisioner } },
    spec: {
      capacity: { storage: spec.resources.requests.storage },
      accessModes: spec.accessModes,
      storageClassName: options.storageClass,
      persistentVolumeReclaimPolicy: "Delete",
      claimRef: { apiVersion: "v1", kind: "PersistentVolumeClaim", namespace, name, uid },
      local: { path: directoryFor(metadata, options.volumesDir) },
      nodeAffinity: {
        required: {
          nodeSelectorTerms: [
            {
              matchExpressions: [
                { key: "kubernetes.io/hostname", operator: "In", values: [options.nodeName] },
              ],
            },
          ],
        },
      },
    },
  };
}

/**
 * The directory to delete with a volume, or undefined if the volume is not ours or still needed.
 *
 * @throws if the volume claims to be ours, but its directory is not the one we would have made for its claim.
 */
export function directoryToDelete(
  { metadata, spec, status }: Volume,
  volumesDir: string,
): string | undefined {
  if (
    metadata.annotations[provisionedBy] !== provisioner ||
    status.phase !== "Released" ||
    spec.persistentVolumeReclaimPolicy !== "Delete"
  ) {
    return undefined;
  }
  const expected = spec.claimRef && directoryFor(spec.claimRef, volumesDir);
  if (expected === undefined || spec.local?.path !== expected) {
    throw new Error(
      `${metadata.name}: will not delete ${spec.local?.path ?? "(no path)"}, it is not its claim's`,
    );
  }
  return expected;
}

/** @throws if the names would lead anywhere but right below `volumesDir`. */
function directoryFor(claim: { namespace: string; name: string; uid: string }, volumesDir: string): string {
  const directory = path.join(volumesDir, `${claim.namespace}_${claim.name}_${claim.uid}`);
  if (path.dirname(directory) !== volumesDir)
    throw new Error(`not below the volumes directory: ${directory}`);
  return directory;
}

/** Makes a volume for each claim that waits for one, and deletes what belonged to claims that are gone. */
export function startVolumes(kubeConfig: KubeConfig, options: VolumesOptions, log: Log): void {
  const api = kubeConfig.makeApiClient(CoreV1Api);
  const loop = reconcileLoop("volumes", () => reconcile(), log);
  const watch = (apiPath: string) => watchList(kubeConfig, apiPath, () => loop.trigger(), log);
  const claims = watch("/api/v1/persistentvolumeclaims");
  const volumes = watch("/api/v1/persistentvolumes");

  const provision = async (claim: Claim): Promise<void> => {
    const volume = volumeFor(claim, options);
    const directory = directoryFor(claim.metadata, options.volumesDir);
    await mkdir(directory, { recursive: true });
    // The pod runs as a user that is not known here; the directory above is closed to others.
    await chmod(directory, 0o777);
    await unless(409, api.createPersistentVolume({ body: volume }));
    log(`volumes: made ${directory} for ${claim.metadata.namespace}/${claim.metadata.name}`);
  };

  const remove = async ({ metadata }: Volume, directory: string): Promise<void> => {
    // The directory first: if this stops half-way, the volume is still there to say that it must go.
    await rm(directory, { recursive: true, force: true });
    const preconditions = { uid: metadata.uid };
    await unless(404, api.deletePersistentVolume({ name: metadata.name, body: { preconditions } }));
    log(`volumes: deleted ${directory}`);
  };

  const reconcile = async (): Promise<void> => {
    if (!claims.synced() || !volumes.synced()) return;
    const present = volumes.objects().map((raw) => volumeSchema.parse(raw));
    const names = new Set(present.map(({ metadata }) => metadata.name));
    const tasks = [
      ...claims
        .objects()
        .map((raw) => claimSchema.parse(raw))
        .filter((claim) => wantsVolume(claim, options) && !names.has(`pvc-${claim.metadata.uid}`))
        .map((claim) => provision(claim)),
      ...present.map(async (volume) => {
        const directory = directoryToDelete(volume, options.volumesDir);
        if (directory !== undefined) await remove(volume, directory);
      }),
    ];
    // One that fails must not hold up the others.
    const failures = (await Promise.allSettled(tasks)).flatMap((result) =>
      result.status === "rejected" ? [String(result.reason)] : [],
    );
    if (failures.length > 0) throw new Error(failures.join("; "));
  };
}

/** Waits for a call, taking one HTTP status for success: the work was done by an earlier try. */
async function unless(status: number, call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof ApiException) || error.code !== status) throw error;
  }
}
