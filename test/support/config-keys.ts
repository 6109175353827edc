import { z } from "zod";

import { settingsSchema } from "../../config/schema.ts";

/** A key of a stack's configuration, as docs/configuration.md has it. */
export interface ConfigKey {
  readonly key: string;
  /** With the unit and the bounds of numbers. */
  readonly type: string;
  readonly fallback: string;
}

const node = z.looseObject({
  title: z.string().optional(),
  type: z.string().optional(),
  const: z.unknown().optional(),
  enum: z.array(z.unknown()).optional(),
  default: z.unknown().optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  properties: z.record(z.string(), z.unknown()).optional(),
  required: z.array(z.string()).default([]),
  additionalProperties: z.unknown().optional(),
  oneOf: z.array(z.unknown()).optional(),
  items: z.unknown().optional(),
});
type Node = z.infer<typeof node>;

const code = (value: unknown): string => `\`${typeof value === "string" ? value : JSON.stringify(value)}\``;

/** Every key of the schema in its order, those of nested maps by a dotted path. */
export function configKeys(): readonly ConfigKey[] {
  return keysOf(node.parse(z.toJSONSchema(settingsSchema, { io: "input" })), "", undefined, "");
}

/** @param given the default of the map around the keys. @param when which variant of a union they belong to. */
function keysOf(map: Node, prefix: string, given: unknown, when: string): readonly ConfigKey[] {
  return Object.entries(map.properties ?? {}).flatMap(([name, schema]) => {
    const value = node.parse(schema);
    const key = `${prefix}${name}`;
    const fallback = valueAt(given, name) ?? value.default;
    const isRequired = map.required.includes(name);
    if (value.properties !== undefined) {
      const isOptional = !isRequired && fallback === undefined;
      return keysOf(value, `${key}.`, fallback, isOptional ? ` with ${code(key)}` : when);
    }
    if (value.oneOf !== undefined) return variantsOf(value.oneOf, `${key}.`, fallback, when);
    if (value.type === "object" && value.title === undefined) {
      return keysOf(node.parse(value.additionalProperties), `${key}.<name>.`, undefined, when);
    }
    return [
      {
        key: code(key),
        type: typeOf(value),
        fallback: describeDefault(fallback, isRequired, when),
      },
    ];
  });
}

/** The keys of a union's variants: the one that tells them apart, then what each has besides. */
function variantsOf(options: readonly unknown[], prefix: string, given: unknown, when: string) {
  const variants = options.map((option) => node.parse(option));
  const properties = variants.map((variant) => variant.properties ?? {});
  const tag = Object.keys(properties[0] ?? {}).find((name) => properties.every((each) => name in each)) ?? "";
  const tags = properties.map((each) => node.parse(each[tag]).const);
  const fallback = describeDefault(valueAt(given, tag), true, when);
  return [
    { key: code(prefix + tag), type: tags.map(code).join(", "), fallback },
    ...variants.flatMap((variant, index) => {
      const { [tag]: _, ...others } = variant.properties ?? {};
      return keysOf({ ...variant, properties: others }, prefix, undefined, ` with ${code(tags[index])}`);
    }),
  ];
}

function typeOf(value: Node): string {
  if (value.enum !== undefined) return value.enum.map(code).join(", ");
  if (value.type === "array") return `list of ${typeOf(node.parse(value.items))}`;
  const name = value.title ?? (value.type === "string" ? "text" : value.type) ?? "?";
  const from = value.minimum ?? Number.MIN_SAFE_INTEGER;
  const to = value.maximum ?? Number.MAX_SAFE_INTEGER;
  if (to < Number.MAX_SAFE_INTEGER) return `${name}, ${from} to ${to}`;
  return from > Number.MIN_SAFE_INTEGER ? `${name}, at least ${from}` : name;
}

function describeDefault(value: unknown, isRequired: boolean, when: string): string {
  if (value !== undefined) return code(value) + when;
  return isRequired ? `required${when}` : "none";
}

function valueAt(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
}
