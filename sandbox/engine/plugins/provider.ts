import { z } from "zod";

import type { Json, JsonObject } from "./wire.ts";

/** What a resource is once it is made. */
export interface Created {
  readonly id: string;
  /** What the provider adds to the inputs, or states more exactly. */
  readonly outputs: JsonObject;
}

interface Definition<Shape extends z.ZodRawShape, Connection> {
  /** The inputs that are known, their form and their defaults. Any other input is an error that names it. */
  readonly inputs: z.ZodObject<Shape>;
  /** Outputs that are not inputs: in a preview they are unknown until the resource exists. */
  readonly computed: readonly string[];
  /** Properties that are always secret, whether or not the program marks them. */
  readonly secrets?: readonly string[];
  /** Inputs that can't change on a resource that exists: a change of one replaces it. */
  readonly replaceOnChange: readonly string[];
  /** Whether two values of one input mean the same, where that is more than being equal. */
  readonly isSame?: Readonly<Record<string, (before: Json, after: Json) => boolean>>;
  /** The output for whose sake the resource is to be replaced although no input changed, e.g. a certificate's end. */
  readonly expires?: (state: JsonObject, inputs: z.output<z.ZodObject<Shape>>) => string | undefined;
  /** @throws PartlyCreatedError when the resource exists, but is not as it should be */
  readonly create: (
    inputs: z.output<z.ZodObject<Shape>>,
    connection: Connection,
  ) => Promise<Created> | Created;
  /**
   * The live state; undefined when the resource is gone. Without it, the recorded state is the live one.
   * @param state the recorded state; empty in an import
   */
  readonly read?: (
    id: string,
    state: JsonObject,
    connection: Connection,
  ) => Promise<Created | undefined> | Created | undefined;
  /** Changes the resource in place. Without it, only the recorded state changes. @returns the outputs that changed */
  readonly update?: (
    inputs: z.output<z.ZodObject<Shape>>,
    before: { readonly id: string; readonly state: JsonObject },
    connection: Connection,
  ) => Promise<JsonObject> | JsonObject;
  /** Without it, there is nothing outside the state to delete. A resource that is gone already is no error. */
  readonly delete?: (id: string, state: JsonObject, connection: Connection) => Promise<void>;
}

/** One type of resource, as the server drives it: its inputs come unparsed. */
export interface ResourceType<Connection> extends Omit<
  Definition<z.ZodRawShape, Connection>,
  "create" | "update" | "expires"
> {
  /** The inputs with their defaults. @throws ZodError */
  readonly parse: (inputs: JsonObject) => JsonObject;
  readonly expires: (state: JsonObject, inputs: JsonObject) => string | undefined;
  readonly create: (inputs: JsonObject, connection: Connection) => Promise<Created>;
  readonly update: (
    inputs: JsonObject,
    before: { readonly id: string; readonly state: JsonObject },
    connection: Connection,
  ) => Promise<JsonObject>;
}

/** A provider: its settings, how it connects with them, and its types of resources by their tokens. */
export interface Provider<Connection> {
  readonly name: string;
  readonly settings: z.ZodObject;
  readonly secretSettings?: readonly string[];
  readonly connect: (settings: JsonObject) => Promise<Connection> | Connection;
  readonly types: Readonly<Record<string, ResourceType<Connection>>>;
}

/** The resource exists now, but could not be made as it should be: the state records it, and the next run goes on. */
export class PartlyCreatedError extends Error {
  override readonly name = "PartlyCreatedError";
  readonly created: Created;

  constructor(created: Created, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.created = created;
  }
}

/** Defines one type of resource; what reaches its functions has been parsed by its own schema. */
export function resourceType<Shape extends z.ZodRawShape, Connection>(
  definition: Definition<Shape, Connection>,
): ResourceType<Connection> {
  const parse = (inputs: JsonObject) => definition.inputs.parse(inputs);
  return {
    ...definition,
    parse: (inputs) => toJson(parse(inputs)),
    expires: (state, inputs) => definition.expires?.(state, parse(inputs)),
    create: async (inputs, connection) => definition.create(parse(inputs), connection),
    update: async (inputs, before, connection) =>
      (await definition.update?.(parse(inputs), before, connection)) ?? {},
  };
}

/** Without the properties that are undefined, which JSON has no word for. */
function toJson(parsed: object): JsonObject {
  return z
    .record(z.string(), z.json())
    .parse(Object.fromEntries(Object.entries(parsed).filter(([, value]) => value !== undefined)));
}
