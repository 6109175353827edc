import * as kubernetes from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { GeocropStorage } from "./components/geocrop-storage.ts";
import { loadSettings } from "./config/load.ts";

const settings = loadSettings();

const clusterConfig = new pulumi.Config("kubernetes");
const kubeconfig = clusterConfig.getSecret("kubeconfig");
const context = clusterConfig.get("context");

const cluster = new kubernetes.Provider("cluster", {
  // Changed Secrets and ConfigMaps are updated in place; pods that must restart for it carry a digest of them.
  enableSecretMutable: true,
  enableConfigMapMutable: true,
  // An `up` that was killed leaves objects that its state does not know; the next one takes them over. They are this
  // stack's: all are in its namespace, and one that is there already is refused (components/running-stack.ts).
  upsertExistingObjects: true,
  enablePatchForce: true,
  ...(kubeconfig === undefined ? {} : { kubeconfig }),
  ...(context === undefined ? {} : { context }),
});

const storage = new GeocropStorage("geocrop", settings, { providers: [cluster] });

export const namespace = storage.namespace;
export const minioEndpoint = storage.minioEndpoint;
export const buckets = storage.buckets;
export const apiUrl = settings.api.publicUrl;
export const downloadUrl = settings.downloads.publicUrl;
