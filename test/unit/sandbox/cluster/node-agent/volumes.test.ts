import { describe, expect, test } from "vitest";
import {
  claimSchema,
  directoryToDelete,
  volumeFor,
  volumeSchema,
  wantsVolume,
} from "../../../../../sandbox/cluster/node-agent/volumes.ts";

const options = { storageClass: "sandbox", volumesDir: "/data/volumes", nodeName: "node-1" };
const directory = "/data/volumes/ns_data-minio-0_uid-1";

const claim = ({ spec = {}, metadata = {} } = {}) =>
  claimSchema.parse({
    metadata: {
      namespace: "ns",
      name: "data-minio-0",
      uid: "uid-1",
      annotations: { "volume.kubernetes.io/selected-node": "node-1" },
      ...metadata,
    },
    spec: {
      storageClassName: "sandbox",
      volumeMode: "Filesystem",
      accessModes: ["ReadWriteOnce"],
      resources: { requests: { storage: "5Gi" } },
      ...spec,
    },
  });

const volume = ({ spec = {}, metadata = {}, phase = "Released" } = {}) =>
  volumeSchema.parse({
    metadata: {
      name: "pvc-uid-1",
      uid: "uid-2",
      annotations: { "pv.kubernetes.io/provisioned-by": "geocrop.sandbox/local" },
      ...metadata,
    },
    spec: {
      persistentVolumeReclaimPolicy: "Delete",
      claimRef: { namespace: "ns", name: "data-minio-0", uid: "uid-1" },
      local: { path: directory },
      ...spec,
    },
    status: { phase },
  });

describe("which claims get a volume", () => {
  test.each([
    ["one of our class whose pod was given this node", claim(), true],
    ["not one of another class", claim({ spec: { storageClassName: "fast" } }), false],
    ["not one that has a volume", claim({ spec: { volumeName: "pvc-uid-1" } }), false],
    ["not a block device", claim({ spec: { volumeMode: "Block" } }), false],
    ["not one whose pod has no node yet", claim({ metadata: { annotations: {} } }), false],
    [
      "not one that is being deleted",
      claim({ metadata: { deletionTimestamp: "2026-01-01T00:00:00Z" } }),
      false,
    ],
    [
      "not one for another node",
      claim({ metadata: { annotations: { "volume.kubernetes.io/selected-node": "node-2" } } }),
      false,
    ],
  ])("%s", (_, given, expected) => {
    expect(wantsVolume(given, options)).toBe(expected);
  });
});

test("a volume is bound to its claim and node, and named by the claim alone", () => {
  expect(volumeFor(claim(), options)).toMatchObject({
    metadata: { name: "pvc-uid-1" },
    spec: {
      capacity: { storage: "5Gi" },
      accessModes: ["ReadWriteOnce"],
      storageClassName: "sandbox",
      persistentVolumeReclaimPolicy: "Delete",
      claimRef: { namespace: "ns", name: "data-minio-0", uid: "uid-1" },
      local: { path: directory },
    },
  });
  expect(volumeFor(claim(), options)).toEqual(volumeFor(claim(), options));
});

describe("which directories are deleted", () => {
  const toDelete = (given: ReturnType<typeof volume>) => directoryToDelete(given, options.volumesDir);

  test("a released volume's", () => {
    expect(toDelete(volume())).toBe(directory);
  });

  test.each([
    ["one in use", volume({ phase: "Bound" })],
    ["one to be retained", volume({ spec: { persistentVolumeReclaimPolicy: "Retain" } })],
    ["somebody else's", volume({ metadata: { annotations: {} } })],
  ])("not %s", (_, given) => {
    expect(toDelete(given)).toBeUndefined();
  });

  test.each([
    ["elsewhere", { local: { path: "/etc" } }],
    ["the volumes directory itself", { local: { path: "/data/volumes" } }],
    ["another claim's", { local: { path: "/data/volumes/ns_other_uid-3" } }],
    [
      "climbing out",
      { local: { path: "/data/x_y" }, claimRef: { namespace: "..", name: "..", uid: "/../../x_y" } },
    ],
    ["no directory", { local: undefined }],
  ])("never %s, whatever the volume says", (_, spec) => {
    expect(() => toDelete(volume({ spec }))).toThrow(/will not delete|not below/);
  });
});
