import { randomInt } from "node:crypto";

import { z } from "zod";

import { GeneratedValues, type Maker } from "./generated.ts";
import { parseInputs } from "./values.ts";

const count = z.int().min(0).default(0);

/** Inputs and defaults of the random provider's RandomPassword and RandomString. */
const schema = z.strictObject({
  length: z.int().min(1),
  lower: z.boolean().default(true),
  upper: z.boolean().default(true),
  number: z.boolean().optional(), // the old name of `numeric`
  numeric: z.boolean().default(true),
  special: z.boolean().default(true),
  overrideSpecial: z.string().optional(),
  minLower: count,
  minUpper: count,
  minNumeric: count,
  minSpecial: count,
  keepers: z.record(z.string(), z.string()).optional(),
});

const lower = "abcdefghijklmnopqrstuvwxyz";
const numerals = "0123456789";
const specials = "!@#$%&*()-_=+[]{}<>:?";

function pick(alphabet: string, length: number): string[] {
  return Array.from({ length }, () => alphabet.charAt(randomInt(alphabet.length)));
}

/** A random text with at least so many of each kind, each place equally likely to hold each of them. */
function randomText(inputs: z.infer<typeof schema>): string {
  const special =
    inputs.overrideSpecial === undefined || inputs.overrideSpecial === "" ? specials : inputs.overrideSpecial;
  const kinds = [
    { alphabet: lower, isUsed: inputs.lower, least: inputs.minLower },
    { alphabet: lower.toUpperCase(), isUsed: inputs.upper, least: inputs.minUpper },
    { alphabet: numerals, isUsed: inputs.number ?? inputs.numeric, least: inputs.minNumeric },
    { alphabet: special, isUsed: inputs.special, least: inputs.minSpecial },
  ].filter(({ isUsed }) => isUsed);
  const alphabet = kinds.map((kind) => kind.alphabet).join("");
  const required = kinds.flatMap((kind) => pick(kind.alphabet, kind.least));
  if (alphabet === "") throw new Error("all kinds of characters are switched off: allow one");
  if (required.length > inputs.length) throw new Error("length is less than the sum of the min* inputs");
  const characters = [...required, ...pick(alphabet, inputs.length - required.length)];
  for (let last = characters.length - 1; last > 0; last -= 1) {
    const other = randomInt(last + 1);
    [characters[last], characters[other]] = [characters[other] ?? "", characters[last] ?? ""];
  }
  return characters.join("");
}

const maker: Maker = {
  make(inputs) {
    const settings = parseInputs(schema, inputs);
    return { numeric: settings.number ?? settings.numeric, result: randomText(settings) };
  },
};

/** The random provider's passwords and strings. (`bcryptHash` is not made.) */
export function randomValues(): GeneratedValues {
  return new GeneratedValues({
    "random:index/randomPassword:RandomPassword": maker,
    "random:index/randomString:RandomString": maker,
  });
}
