import struct, { type Struct } from "google-protobuf/google/protobuf/struct_pb.js";
import { z } from "zod";

export type Json = z.core.util.JSONType;
export type JsonObject = Record<string, Json>;

/** How the engine marks what is not a plain value. Source: pulumi/sdk/go/common/resource/sig/sig.go. */
export const signatureKey = "4dabf18193072939515e22adb298388d";
export const secretSignature = "1b47061264138c4ac30d75fd1eb44270";

/** A value that is not known yet, which happens in a preview only. Source: sdk/go/common/resource/plugin/rpc.go. */
export const unknownValue = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

/** The properties of a resource as the engine sends them. */
export interface Properties {
  /** Plain values. A property that is unknown, or holds something unknown, is left out; so is one that is null. */
  readonly values: JsonObject;
  /** Names of the properties that are, or hold, a secret. */
  readonly secret: ReadonlySet<string>;
  /** Names of the properties that are, or hold, something unknown. */
  readonly unknown: ReadonlySet<string>;
}

/** @throws Error when a property is an asset, an archive or a resource: no stand-in has an input that takes one. */
export function decode(message: Struct | undefined): Properties {
  const values: JsonObject = {};
  const secret = new Set<string>();
  const unknown = new Set<string>();

  function unwrap(name: string, value: Json): Json {
    if (value === unknownValue) unknown.add(name);
    if (Array.isArray(value)) return value.map((item) => unwrap(name, item));
    if (!isObject(value)) return value;
    const signature = value[signatureKey];
    if (signature === secretSignature) {
      secret.add(name);
      return unwrap(name, value["value"] ?? null);
    }
    if (signature !== undefined) throw new Error(`property "${name}" is not plain data`);
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unwrap(name, item)]));
  }

  const sent = z.record(z.string(), z.json()).parse(message?.toJavaScript() ?? {});
  for (const [name, value] of Object.entries(sent)) {
    const plain = unwrap(name, value);
    if (plain !== null && !unknown.has(name)) values[name] = plain;
  }
  return { values, secret, unknown };
}

/** The message for properties of which some are secret, and some not known yet. */
export function encode(
  values: JsonObject,
  secret: ReadonlySet<string> = new Set(),
  unknown: Iterable<string> = [],
): Struct {
  const all: JsonObject = { ...values };
  for (const name of unknown) all[name] = unknownValue;
  const marked = Object.entries(all).map(([name, value]): [string, Json] => [
    name,
    secret.has(name) ? { [signatureKey]: secretSignature, value } : value,
  ]);
  return struct.Struct.fromJavaScript(Object.fromEntries(marked));
}

/** One text for one value, whatever the order of its keys. */
export function canonicalJson(value: Json): string {
  return JSON.stringify(value, (_key, item: Json) =>
    isObject(item) ? Object.fromEntries(Object.entries(item).toSorted(([a], [b]) => (a < b ? -1 : 1))) : item,
  );
}

export function isEqual(a: Json | undefined, b: Json | undefined): boolean {
  return a === undefined || b === undefined ? a === b : canonicalJson(a) === canonicalJson(b);
}

/**
 * Blanks secrets in the text of an error. No stand-in prints a secret on purpose; a server or a library might.
 * Strings of fewer than six characters are left alone: blanking "1" or "true" would only make messages unreadable.
 */
export function redact(text: string, ...sources: readonly Properties[]): string {
  const secrets = sources.flatMap(({ values, secret }) =>
    [...secret].flatMap((name) => strings(values[name])),
  );
  return secrets
    .filter((secret) => secret.length >= 6)
    .reduce((clean, secret) => clean.replaceAll(secret, "[secret]"), text);
}

function strings(value: Json | undefined): string[] {
  if (typeof value === "string") return [value, Buffer.from(value).toString("base64")];
  if (typeof value !== "object" || value === null) return [];
  return Object.values(value).flatMap((item) => strings(item));
}

function isObject(value: Json): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
