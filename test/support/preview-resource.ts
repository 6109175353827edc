import { urnOf, type JsonObject, type Resource } from "../../tools/program/recording.ts";

/** A registration as a recording holds it, with nothing in it but what a test gives. */
export function resource(
  type: string,
  name: string,
  inputs: JsonObject,
  change: Partial<Resource> = {},
): Resource {
  const parent = change.parent ?? "";
  return {
    urn: urnOf("dev", "project", parent, type, name),
    type,
    name,
    parent,
    custom: true,
    provider: "",
    inputs,
    propertyDependencies: {},
    protect: false,
    retainOnDelete: false,
    ignoreChanges: [],
    replaceOnChanges: [],
    aliases: [],
    ...change,
  };
}
