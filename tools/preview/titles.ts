import { at } from "./properties.ts";
import type { Resource } from "../program/recording.ts";

/** The last part of a type token: `StatefulSet`. */
export function kindOf({ type }: Pick<Resource, "type">): string {
  const kind = type.split(/[:/]/).at(-1) ?? type;
  return type.startsWith("pulumi:providers:") ? `${kind} provider` : kind;
}

/** What an object is called where it lives; by its resource's name where the program leaves that to a server. */
export function liveName({ name, inputs }: Pick<Resource, "name" | "inputs">): string {
  const candidates = [at(inputs, "metadata", "name"), inputs["bucket"], inputs["name"]];
  return candidates.find((candidate) => typeof candidate === "string") ?? name;
}

/** As a reviewer would say it: `StatefulSet minio`. */
export function titleOf(resource: Pick<Resource, "type" | "name" | "inputs">): string {
  return `${kindOf(resource)} ${liveName(resource)}`;
}
