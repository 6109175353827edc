import { CoreV1Api, KubernetesObjectApi, type KubernetesObject } from "@kubernetes/client-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";

import { renderStack } from "../../tools/preview/render.ts";
import { bringUp } from "./bring-up.ts";
import { layout } from "./stacks.ts";
import { sandboxCluster } from "./live.ts";

const namespace = "geocrop-e2e-render";

interface Rendered extends KubernetesObject {
  metadata: { name: string; namespace?: string };
  spec?: { ports?: { nodePort?: number }[] };
}

/** cert-manager's definitions are not on the sandbox. */
const isKnown = ({ apiVersion = "" }: Rendered) => !apiVersion.startsWith("cert-manager.io/");

/** Where nothing is in its way: in a namespace of the test's, without the ports that a cluster has only once. */
function elsewhere(object: Rendered): Rendered {
  const { spec } = object;
  if (object.kind === "Namespace") return { ...object, metadata: { ...object.metadata, name: namespace } };
  for (const port of spec?.ports ?? []) delete port.nodePort;
  return { ...object, metadata: { ...object.metadata, namespace } };
}

async function rendered(stack: string): Promise<Map<string, Rendered>> {
  const files = [...(await renderStack(layout.project, stack))].filter(([path]) =>
    path.startsWith("kubernetes/"),
  );
  return new Map(files.map(([path, text]): [string, Rendered] => [path, elsewhere(parse(text))]));
}

beforeAll(async () => {
  process.env["KUBECONFIG"] = layout.kubeconfig;
  await bringUp();
  const home = (await rendered("prod")).get("kubernetes/namespace-geocrop.yaml");
  if (home === undefined) throw new Error("the rendering has no namespace");
  await KubernetesObjectApi.makeApiClient(sandboxCluster()).patch(
    home,
    undefined,
    undefined,
    "geocrop-e2e",
    true,
    "application/apply-patch+yaml",
  );
});

afterAll(async () => {
  await sandboxCluster().makeApiClient(CoreV1Api).deleteNamespace({ name: namespace });
});

test.each(["dev", "prod"])(
  "the API server takes each object of %s, as kubectl apply --dry-run=server would ask",
  async (stack) => {
    const api = KubernetesObjectApi.makeApiClient(sandboxCluster());
    const objects = [...(await rendered(stack))].filter(([, object]) => isKnown(object));
    const refusals: string[] = [];
    for (const [path, object] of objects) {
      try {
        await api.patch(object, undefined, "All", "geocrop-e2e", true, "application/apply-patch+yaml");
      } catch (error) {
        refusals.push(`${path}: ${String(error)}`);
      }
    }
    expect(refusals).toEqual([]);
    expect(objects.length).toBeGreaterThan(30);
  },
);
