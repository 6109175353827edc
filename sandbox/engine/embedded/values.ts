import { createHash } from "node:crypto";

import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";

export type Json = z.core.util.JSONType;
export type JsonObject = Record<string, Json>;

/** What a resource was declared with, out of the SDK's wire format. */
export interface Plain {
  /** The inputs as plain values; those that are not known yet (preview only) are left out. */
  readonly values: JsonObject;
  /** Names of the inputs that are, or hold, a secret. */
  readonly secret: ReadonlySet<string>;
  /** Names of the inputs that are, or hold, something not known yet. */
  readonly unknown: ReadonlySet<string>;
}

const json = z.json();

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Takes the SDK's secret wrappers off, and notes which inputs wore one. */
export function plain(inputs: unknown): Plain {
  const values: JsonObject = {};
  const secret = new Set<string>();
  const unknown = new Set<string>();

  function unwrap(name: string, value: unknown): unknown {
    if (pulumi.isUnknown(value)) {
      unknown.add(name);
      return undefined;
    }
    if (Array.isArray(value)) return value.map((item: unknown) => unwrap(name, item));
    if (!isMap(value)) return value;
    if (value[pulumi.runtime.specialSigKey] === pulumi.runtime.specialSecretSig) {
      secret.add(name);
      return unwrap(name, value["value"]);
    }
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unwrap(name, item)]));
  }

  for (const [name, value] of Object.entries(isMap(inputs) ? inputs : {})) {
    const bare = unwrap(name, value);
    if (bare === undefined || unknown.has(name)) continue;
    const parsed = json.safeParse(bare);
    if (!parsed.success) throw new Error(`input "${name}" is not plain data (assets are not supported)`);
    values[name] = parsed.data;
  }
  return { values, secret, unknown };
}

/** One text for one value, whatever the order of its keys. */
export function stable(value: Json): string {
  return JSON.stringify(value, (_key, item: Json) =>
    isMap(item) ? Object.fromEntries(Object.entries(item).toSorted(([a], [b]) => (a < b ? -1 : 1))) : item,
  );
}

export function hash(value: Json): string {
  return createHash("sha256").update(stable(value)).digest("hex");
}

/**
 * Blanks every secret it has seen in whatever is printed. Nothing prints a secret on purpose; this is for the
 * text of errors, which servers and tools write.
 */
export class Redactor {
  readonly #secrets = new Set<string>();

  /** Short strings are left alone: blanking "1" or "true" would only make messages unreadable. */
  learn(value: Json | undefined): void {
    if (typeof value === "string" && value.length >= 6) {
      this.#secrets.add(value).add(Buffer.from(value).toString("base64"));
    } else if (typeof value === "object" && value !== null) {
      for (const item of Object.values(value)) this.learn(item);
    }
  }

  redact(text: string): string {
    let clean = text;
    for (const secret of this.#secrets) clean = clean.replaceAll(secret, "[secret]");
    return clean;
  }
}

/** Checks a resource's inputs, strictly: an input that a handler would ignore is a fault, not a surprise. */
export function parseInputs<T>(schema: z.ZodType<T>, inputs: JsonObject): T {
  const parsed = schema.safeParse(inputs);
  if (parsed.success) return parsed.data;
  throw new Error(`the embedded deployer can't take these inputs:\n${z.prettifyError(parsed.error)}`);
}
