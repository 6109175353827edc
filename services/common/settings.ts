import * as z from "zod";

/** A service's environment. None of it is a secret: those come as mounted files. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A rule over several variables. @returns what is wrong, naming the variables, or undefined */
export type Rule = (env: Environment) => string | undefined;

export const text = z.string({ error: "must be set" }).min(1, { error: "must not be empty" });

export const wholeNumber = (min: number, max: number) =>
  z
    .string({ error: "must be set" })
    .regex(/^\d{1,15}$/, { error: "must be a whole number", abort: true })
    .transform(Number)
    .refine((value) => value >= min && value <= max, { error: `must be from ${min} to ${max}` });

/** A TCP port; 0 takes any free one. */
export const port = wholeNumber(0, 65_535);

export const httpsUrl = z.url({ protocol: /^https$/, error: "must be an https URL", abort: true });

/**
 * Reads a service's settings from its environment variables.
 *
 * @param schema - by variable
 * @param rules - over several variables. Not in the schema: zod would check them only once everything else is right
 * @throws Error that lists every problem: variable, value, and what it must be
 */
export function readEnvironment<Shape extends z.ZodRawShape>(
  schema: z.ZodObject<Shape>,
  env: Environment,
  rules: readonly Rule[] = [],
): z.output<z.ZodObject<Shape>> {
  const result = schema.safeParse(env);
  const problems = (result.error?.issues ?? []).map(({ path, message }) => {
    const name = String(path[0]);
    return `${name} ${shown(env[name])}: ${message}`;
  });
  problems.push(...rules.flatMap((rule) => rule(env) ?? []));
  if (result.success && problems.length === 0) return result.data;
  throw new Error(["the environment is not usable:", ...problems].join("\n  "));
}

/** An address may hold a password before its host, or a key in its query. */
function shown(value: string | undefined): string {
  if (value === undefined) return "is not set";
  return `is "${value.replace(/^([a-z]+:\/\/)?.*@/s, "$1***@").replace(/\?.*$/s, "?***")}"`;
}
