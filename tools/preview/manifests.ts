import { stringify } from "yaml";

import { parseJson } from "../../policy/values.ts";
import { isObject, type Json, type JsonObject, type Recording, type Resource } from "../program/recording.ts";
import { withoutMarks } from "./report.ts";
import { kindOf, liveName } from "./titles.ts";

/** What stands where a secret would. */
const placeholder = "[secret]";

/**
 * A program's objects as YAML, one a file, by path: the same for the same program, with the keys in order.
 *
 * The Kubernetes ones are what the API server would get, but for the values of Secrets. MinIO's are for reading: a
 * bucket with its versioning and lifecycle, a policy as a document, a user with the policies it has.
 *
 * @throws Error when two objects would be one file.
 */
export function renderManifests({ resources }: Recording): Map<string, string> {
  const files = new Map<string, string>();
  for (const resource of resources) {
    const document = documentOf(resource, resources);
    if (document === undefined) continue;
    const folder = resource.type.split(":", 1)[0] ?? "";
    const path = `${folder}/${kindOf(resource).toLowerCase()}-${liveName(resource)}.yaml`;
    if (files.has(path)) throw new Error(`two objects are called ${path}: give one of them another name`);
    files.set(path, stringify(withoutMarks(document), { lineWidth: 0 }));
  }
  return new Map([...files].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function documentOf(resource: Resource, all: readonly Resource[]): JsonObject | undefined {
  const { type, inputs } = resource;
  if (type.startsWith("kubernetes:")) return kubernetesObject(inputs);
  switch (type) {
    case "minio:index/s3Bucket:S3Bucket":
      return bucketDocument(resource, all);
    case "minio:index/iamPolicy:IamPolicy":
      return { name: inputs["name"] ?? null, document: policyDocument(inputs["policy"]) };
    case "minio:index/iamUser:IamUser":
      return { name: inputs["name"] ?? null, secret: placeholder, policies: policiesOf(inputs["name"], all) };
    default:
      return undefined;
  }
}

/** The three fields that every object has come first, as in any manifest. */
function kubernetesObject(inputs: JsonObject): JsonObject {
  const { apiVersion = null, kind = null, metadata = null, data, ...rest } = inputs;
  const values: JsonObject =
    kind === "Secret" ? { stringData: placeholders(data) } : data === undefined ? {} : { data };
  return { apiVersion, kind, ...inOrder({ metadata, ...rest, ...values }) };
}

/** As text, for `data` must be base64, which nobody could read. */
function placeholders(data: Json | undefined): JsonObject {
  const keys = isObject(data) ? Object.keys(data) : [];
  return Object.fromEntries(keys.toSorted().map((key) => [key, placeholder]));
}

function bucketDocument({ inputs, protect }: Resource, all: readonly Resource[]): JsonObject {
  const { bucket = null, ...settings } = inputs;
  const about = (type: string) =>
    all.find((other) => other.type === type && other.inputs["bucket"] === bucket);
  return {
    bucket,
    ...inOrder({
      ...settings,
      protect,
      versioning:
        about("minio:index/s3BucketVersioning:S3BucketVersioning")?.inputs["versioningConfiguration"] ?? null,
      lifecycle: about("minio:index/ilmPolicy:IlmPolicy")?.inputs["rules"] ?? null,
    }),
  };
}

/** As its author ordered it, for that is how it is reviewed. */
function policyDocument(policy: Json | undefined): Json {
  const document: unknown = typeof policy === "string" ? parseJson(policy) : undefined;
  return document === undefined ? (policy ?? null) : JSON.parse(JSON.stringify(document));
}

function policiesOf(user: Json | undefined, all: readonly Resource[]): string[] {
  return all
    .filter(({ type }) => type === "minio:index/iamUserPolicyAttachment:IamUserPolicyAttachment")
    .filter(({ inputs }) => inputs["userName"] === user)
    .flatMap(({ inputs }) => (typeof inputs["policyName"] === "string" ? [inputs["policyName"]] : []))
    .toSorted();
}

function inOrder<T extends Json>(value: T): T;
function inOrder(value: Json): Json {
  if (Array.isArray(value)) return value.map((item) => inOrder(item));
  if (!isObject(value)) return value;
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, item]) => [key, inOrder(item)]));
}
