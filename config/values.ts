import { isIP } from "node:net";

import { z } from "zod";

import { quantityPattern } from "./quantity.ts";

/** Error text for a value of the wrong type or form: one for a key that is missing, one for what stands there. */
export function expected(what: string, remedy: string) {
  return {
    error: ({ input }: { readonly input?: unknown }) =>
      input === undefined ? `is missing: ${remedy}` : `is not ${what}: ${remedy}`,
  };
}

const size = expected("a size", "write a number and a unit (Ki, Mi, Gi, Ti, k, M, G, T), for example 10Gi");

/** A size such as `10Gi`. */
export const quantity = z.string(size).regex(quantityPattern, size).meta({ title: "size" });

/** A whole number of something. */
export function wholeNumber(unit: string) {
  return z.int({ error: `must be a whole number of ${unit}` }).meta({ title: unit });
}

export const namespaceName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, {
    error: "is not a valid namespace name: use up to 63 lower-case letters, digits and hyphens",
  })
  .meta({ title: "name" });

export const storageClass = z
  .string()
  .min(1, "is empty: name a StorageClass or remove the key")
  .meta({ title: "name" })
  .optional();

export const replicas = wholeNumber("pods")
  .min(1, "must be at least 1")
  .max(20, "must be at most 20")
  .default(1);

/** What a container asks for; memory is its limit too. */
export function resources(cpu: string, memory: string) {
  return z
    .strictObject({
      cpu: z
        .string()
        .regex(/^\d+m?$/, "is not a CPU share: write whole cores (2) or thousandths of one (500m)")
        .meta({ title: "cores, or thousandths of one" })
        .default(cpu),
      memory: quantity.default(memory),
    })
    .prefault({});
}

const isHttps = (value: string) => URL.canParse(value) && new URL(value).protocol === "https:";
const notHttps = expected("an https address", "write https://host or https://host:port");

export const httpsUrl = z.string(notHttps).refine(isHttps, notHttps).meta({ title: "https URL" });

/** Clients sign the Host header, so a public address is a bare origin: no path, query or trailing slash. */
export const publicOrigin = z
  .string(notHttps)
  .refine((value) => isHttps(value) && new URL(value).origin === value, {
    error: ({ input }) =>
      typeof input === "string" && isHttps(input)
        ? "must be a bare origin: write https://host or https://host:port, in lower case, without :443 and without a slash at the end"
        : notHttps.error({ input }),
  })
  .meta({ title: "https origin" });

/** Whether the host of a URL is an address, not a name. */
export function isAddress(url: string): boolean {
  return isIP(new URL(url).hostname.replaceAll(/[[\]]/g, "")) !== 0;
}

/** A rule that looks at several keys, and what of the settings it needs to be valid to look at all. */
export interface CrossCheck {
  /** @returns the error's path and message; undefined when all is well, or when what it needs is not valid. */
  (values: unknown): { readonly path: readonly string[]; readonly message: string } | undefined;
}

/** Makes a rule between keys. It is checked whenever the keys it reads are valid, whatever is wrong with others. */
export function crossCheck<Needs extends z.ZodType>(
  needs: Needs,
  path: readonly string[],
  check: (values: z.output<Needs>) => string | undefined,
): CrossCheck {
  return (values) => {
    const parsed = needs.safeParse(values);
    const message = parsed.success ? check(parsed.data) : undefined;
    return message === undefined ? undefined : { path, message };
  };
}
