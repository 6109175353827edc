import { isDeepStrictEqual } from "node:util";

import { isObject, isSecret, isUnknown, type Json, type JsonObject } from "../program/recording.ts";

/** One difference between two values. A side that is missing is undefined. */
export interface PropertyChange {
  /** As in `spec.template.spec.containers[minio].image`. */
  readonly path: string;
  readonly before: Json | undefined;
  readonly after: Json | undefined;
}

/** Fields that name the elements of a list, so that one more element is one change and not many. */
const elementNames = ["name", "id", "Sid", "key", "ip"];

/** What differs between two sets of properties, by path, in the order of the paths. */
export function diffProperties(before: JsonObject, after: JsonObject): PropertyChange[] {
  return diffObjects("", before, after);
}

function diffValues(path: string, before: Json | undefined, after: Json | undefined): PropertyChange[] {
  if (isDeepStrictEqual(before, after)) return [];
  if (isPlainObject(before) && isPlainObject(after)) return diffObjects(path, before, after);
  if (Array.isArray(before) && Array.isArray(after)) {
    const named = [byName(before), byName(after)] as const;
    if (named[0] !== undefined && named[1] !== undefined) return diffLists(path, named[0], named[1]);
  }
  const documents = [parseDocument(before), parseDocument(after)] as const;
  if (documents[0] !== undefined && documents[1] !== undefined) {
    const changes = diffObjects(path, documents[0], documents[1]);
    // Where only the writing differs, the texts themselves do.
    if (changes.length > 0) return changes;
  }
  return [{ path, before, after }];
}

function diffObjects(path: string, before: JsonObject, after: JsonObject): PropertyChange[] {
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].toSorted();
  return keys.flatMap((key) => diffValues(join(path, key), before[key], after[key]));
}

function diffLists(
  path: string,
  before: ReadonlyMap<string, Json>,
  after: ReadonlyMap<string, Json>,
): PropertyChange[] {
  const names = [...new Set([...before.keys(), ...after.keys()])];
  return names.flatMap((name) => diffValues(`${path}[${name}]`, before.get(name), after.get(name)));
}

/** A list's elements by name; undefined where they have none, or where the order alone may matter. */
function byName(list: readonly Json[]): Map<string, Json> | undefined {
  const named = new Map<string, Json>();
  for (const element of list) {
    const name = isObject(element) ? nameOf(element) : undefined;
    if (name === undefined || named.has(name)) return undefined;
    named.set(name, element);
  }
  return named;
}

function nameOf(element: JsonObject): string | undefined {
  const { metadata } = element;
  const candidates = elementNames.map((field) => element[field]);
  if (isObject(metadata)) candidates.unshift(metadata["name"]);
  return candidates.find((name) => typeof name === "string");
}

/** Policies are JSON in a string: what changed in them is what there is to see. */
function parseDocument(value: Json | undefined): JsonObject | undefined {
  if (typeof value !== "string" || !value.startsWith("{")) return undefined;
  try {
    const document: Json = JSON.parse(value);
    return isObject(document) ? document : undefined;
  } catch {
    return undefined;
  }
}

function isPlainObject(value: Json | undefined): value is JsonObject {
  return isObject(value) && !isSecret(value) && !isUnknown(value);
}

/** Keys with dots or brackets of their own are quoted, as in `metadata.labels["app.kubernetes.io/name"]`. */
function join(path: string, key: string): string {
  if (/[.[\]]/.test(key)) return `${path}[${JSON.stringify(key)}]`;
  return path === "" ? key : `${path}.${key}`;
}

/** Whether a path is at or below another, as `spec.selector.matchLabels` is below `spec.selector`. */
export function isWithin(path: string, ancestor: string): boolean {
  return path === ancestor || path.startsWith(`${ancestor}.`) || path.startsWith(`${ancestor}[`);
}

/** The value at a path of plain keys. */
export function at(value: Json | undefined, ...keys: readonly string[]): Json | undefined {
  return keys.reduce<Json | undefined>((inner, key) => (isObject(inner) ? inner[key] : undefined), value);
}
