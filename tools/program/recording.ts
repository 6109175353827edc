import { z } from "zod";

export type Json = z.core.util.JSONType;
export type JsonObject = { [key: string]: Json };

/** Stands for a secret: two are equal when their digests are, which no one can compute without the run's key. */
const secretKey = "geocrop-preview:secret";

/** Stands for what is known only once a resource exists. */
const unknownKey = "geocrop-preview:unknown";

export const unknown: Json = { [unknownKey]: true };
export const secret = (digest: string): Json => ({ [secretKey]: digest });

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export const isSecret = (value: Json | undefined): boolean => isObject(value) && secretKey in value;
export const isUnknown = (value: Json | undefined): boolean => isObject(value) && unknownKey in value;

/** Whether there is something in a value that is known only once a resource exists. */
export function holdsUnknown(value: Json | undefined): boolean {
  if (isUnknown(value)) return true;
  return typeof value === "object" && value !== null && Object.values(value).some(holdsUnknown);
}

const aliasSchema = z.object({
  urn: z.string().optional(),
  name: z.string().optional(),
  type: z.string().optional(),
  /** The URN of the parent that it had; "" for none. */
  parent: z.string().optional(),
});

const resourceSchema = z.object({
  urn: z.string(),
  type: z.string(),
  name: z.string(),
  /** The URN of the parent; "" for none. */
  parent: z.string(),
  /** Whether a provider stands behind it; components have none. */
  custom: z.boolean(),
  /** The URN of its provider; "" for the default one. */
  provider: z.string(),
  inputs: z.record(z.string(), z.json()),
  /** URNs that a property's value came from. */
  propertyDependencies: z.record(z.string(), z.array(z.string())),
  protect: z.boolean(),
  retainOnDelete: z.boolean(),
  ignoreChanges: z.array(z.string()),
  replaceOnChanges: z.array(z.string()),
  aliases: z.array(aliasSchema),
});

/** All that a program declared, as one run of it told. */
export const recordingSchema = z.object({
  /** Each after those that it is made of, as the SDK registers them. */
  resources: z.array(resourceSchema),
  outputs: z.record(z.string(), z.json()),
});

export type Alias = z.infer<typeof aliasSchema>;
export type Resource = z.infer<typeof resourceSchema>;
export type Recording = z.infer<typeof recordingSchema>;

/** What the recording child is told. */
export const orderSchema = z.object({
  project: z.string(),
  stack: z.string(),
  /** The program's entry, absolute. */
  program: z.string(),
  /** By `namespace:key`; structured values as JSON. */
  config: z.record(z.string(), z.string()),
  /** The keys of `config` that are encrypted in the stack file. */
  encrypted: z.array(z.string()),
  /** Keys the digests of secrets; of one run of the preview only. */
  key: z.string(),
});
export type Order = z.infer<typeof orderSchema>;

/** What the recording child answers. */
export const answerSchema = z.union([
  z.object({ recording: recordingSchema }),
  z.object({ fault: z.string() }),
]);
export type Answer = z.infer<typeof answerSchema>;

/** A URN as the engine builds it: with the types of all its parents but the stack. */
export function urnOf(stack: string, project: string, parent: string, type: string, name: string): string {
  const parentType = parent.split("::")[2] ?? "";
  const qualified = parentType === "" || parentType === stackType ? type : `${parentType}$${type}`;
  return `urn:pulumi:${stack}::${project}::${qualified}::${name}`;
}

export const stackType = "pulumi:pulumi:Stack";
