import { randomInt } from "node:crypto";

import { z } from "zod";

import { resourceType, type Created, type Provider, type ResourceType } from "./provider.ts";
import type { JsonObject } from "./wire.ts";

const count = z.int().min(0).default(0);

const inputs = z.object({
  length: z.int().min(1),
  lower: z.boolean().default(true),
  upper: z.boolean().default(true),
  number: z.boolean().optional(), // the old name of `numeric`; either gives both outputs
  numeric: z.boolean().optional(),
  special: z.boolean().default(true),
  overrideSpecial: z.string().optional(),
  minLower: count,
  minUpper: count,
  minNumeric: count,
  minSpecial: count,
  keepers: z.record(z.string(), z.string()).optional(),
});
type Inputs = z.infer<typeof inputs>;

/** Every input replaces: a text is never made anew in place. */
const replaceOnChange = Object.keys(inputs.shape);

const lower = "abcdefghijklmnopqrstuvwxyz";
const numerals = "0123456789";
const specials = "!@#$%&*()-_=+[]{}<>:?";

/**
 * RandomString and RandomPassword, as the official provider (terraform-provider-random 3) has them. One output is
 * not made, `bcryptHash` of RandomPassword: Node has no bcrypt.
 */
export const randomProvider: Provider<undefined> = {
  name: "random",
  settings: z.object({}),
  connect: () => undefined,
  types: {
    "random:index/randomString:RandomString": textType([], (result) => result),
    "random:index/randomPassword:RandomPassword": textType(["result"], () => "none"),
  },
};

function textType(secrets: readonly string[], idOf: (result: string) => string): ResourceType<undefined> {
  return resourceType({
    inputs,
    computed: ["result"],
    secrets,
    replaceOnChange,
    create: (given) => created(given, randomText(given)),
    // An import names the text itself; what it was made of is not to be known, so the defaults are taken.
    read: (id, state) =>
      "result" in state ? { id, outputs: state } : created(inputs.parse({ length: id.length }), id),
  });

  function created(given: Inputs, result: string): Created {
    const numeric = given.numeric ?? given.number ?? true;
    const outputs: JsonObject = { numeric, number: numeric, result };
    for (const [name, value] of Object.entries(given)) if (value !== undefined) outputs[name] ??= value;
    return { id: idOf(result), outputs };
  }
}

/** A text with at least so many characters of each kind, each place equally likely to hold each of them. */
function randomText(given: Inputs): string {
  const special = given.overrideSpecial ?? "";
  const kinds = [
    { alphabet: lower, isUsed: given.lower, least: given.minLower },
    { alphabet: lower.toUpperCase(), isUsed: given.upper, least: given.minUpper },
    { alphabet: numerals, isUsed: given.numeric ?? given.number ?? true, least: given.minNumeric },
    { alphabet: special === "" ? specials : special, isUsed: given.special, least: given.minSpecial },
  ];
  const alphabet = kinds.flatMap((kind) => (kind.isUsed ? [kind.alphabet] : [])).join("");
  const required = kinds.flatMap((kind) => pick(kind.alphabet, kind.least));
  if (alphabet === "") throw new Error("all kinds of characters are switched off: allow one");
  if (required.length > given.length) throw new Error("length is less than the sum of the min* inputs");
  const characters = [...required, ...pick(alphabet, given.length - required.length)];
  for (let last = characters.length - 1; last > 0; last -= 1) {
    const other = randomInt(last + 1);
    [characters[last], characters[other]] = [characters[other] ?? "", characters[last] ?? ""];
  }
  return characters.join("");
}

function pick(alphabet: string, length: number): string[] {
  return Array.from({ length }, () => alphabet.charAt(randomInt(alphabet.length)));
}
