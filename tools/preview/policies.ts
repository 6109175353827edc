import { readFileSync } from "node:fs";

import { z } from "zod";

import type { Rule } from "../../policy/rule.ts";
import { rules } from "../../policy/rules/index.ts";
import { UserError, messageOf } from "../command-line.ts";
import type { Resource } from "../program/recording.ts";
import { titleOf } from "./titles.ts";

const levelSchema = z.enum(["advisory", "mandatory", "disabled"]);
type Level = z.infer<typeof levelSchema>;

/** What `pulumi preview --policy-pack-config` takes: by rule, or for `all`, a level or settings with one. */
const configSchema = z.record(
  z.string(),
  z.union([levelSchema, z.looseObject({ enforcementLevel: levelSchema.optional() })]),
);
export type PolicyConfig = z.infer<typeof configSchema>;

/** A resource that does not keep to a rule. */
export interface Violation {
  readonly rule: Rule;
  readonly level: Exclude<Level, "disabled">;
  readonly title: string;
  readonly message: string;
}

/** @throws UserError when the file is none of a policy configuration, or names a rule that there is not. */
export function readPolicyConfig(file: string): PolicyConfig {
  let config: PolicyConfig;
  try {
    config = configSchema.parse(JSON.parse(readFileSync(file, "utf8")));
  } catch (error) {
    throw new UserError(`${file} is no policy configuration: ${messageOf(error)}`);
  }
  const known = new Set(["all", ...rules.map(({ id }) => id)]);
  const stray = Object.keys(config).filter((id) => !known.has(id));
  if (stray.length > 0) {
    throw new UserError(
      `${file}: there is no policy ${stray.join(", ")}; there are ${[...known].join(", ")}`,
    );
  }
  return config;
}

/** Holds what a program declares to the rules of the policy pack, as the engine would. */
export function checkPolicies(resources: readonly Resource[], config: PolicyConfig): Violation[] {
  const subjects = resources.map((resource) => ({ ...resource, props: resource.inputs }));
  const byUrn = new Map(resources.map((resource) => [resource.urn, resource]));
  return rules.flatMap((rule) => {
    const level = levelOf(config[rule.id]) ?? levelOf(config["all"]) ?? rule.level;
    if (level === "disabled") return [];
    const given = config[rule.id];
    return rule.check(subjects, typeof given === "object" ? given : {}).map(({ subject, message }) => {
      const resource = byUrn.get(subject.urn);
      return { rule, level, message, title: resource === undefined ? subject.name : titleOf(resource) };
    });
  });
}

function levelOf(entry: PolicyConfig[string] | undefined): Level | undefined {
  return typeof entry === "object" ? entry.enforcementLevel : entry;
}
