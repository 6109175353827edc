import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

interface Definition {
  readonly properties?: Readonly<Record<string, unknown>>;
  readonly additionalProperties?: unknown;
  readonly format?: string;
  readonly "x-kubernetes-group-version-kind"?: readonly {
    readonly group: string;
    readonly version: string;
    readonly kind: string;
  }[];
}

/** Kubernetes' quantities and ports are numbers as well as strings, which its OpenAPI does not say. */
const numbersToo = new Set([
  "io.k8s.apimachinery.pkg.api.resource.Quantity",
  "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
]);

/**
 * JSON schemas for kubeconform, one a kind, from Kubernetes' own OpenAPI. They are strict: a field that the API
 * server would drop without a word is an error.
 *
 * @param openapi `api/openapi-spec/swagger.json` of Kubernetes' sources.
 * @returns kubeconform's `-schema-location`.
 */
export async function writeSchemas(openapi: string, folder: string): Promise<string> {
  const { definitions }: { definitions: Record<string, Definition> } = JSON.parse(
    await readFile(openapi, "utf8"),
  );
  await mkdir(folder, { recursive: true });
  const strict = Object.fromEntries(
    Object.entries(definitions).map(([name, definition]) => [name, strictly(name, definition)]),
  );
  await writeFile(join(folder, "_definitions.json"), JSON.stringify({ definitions: strict }));
  for (const [name, definition] of Object.entries(definitions)) {
    for (const { group, version, kind } of definition["x-kubernetes-group-version-kind"] ?? []) {
      const parts = [kind, ...(group === "" ? [] : [group.split(".")[0]]), version];
      const file = join(folder, `${parts.join("-").toLowerCase()}.json`);
      await writeFile(file, JSON.stringify({ $ref: `_definitions.json#/definitions/${name}` }));
    }
  }
  return join(folder, "{{.ResourceKind}}{{.KindSuffix}}.json");
}

function strictly(name: string, definition: Definition): unknown {
  if (numbersToo.has(name)) return { type: ["string", "number"] };
  return definition.properties === undefined || definition.additionalProperties !== undefined
    ? definition
    : { ...definition, additionalProperties: false };
}
