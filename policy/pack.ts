import { PolicyPack, type ResourceValidationPolicy, type StackValidationPolicy } from "@pulumi/policy";

import type { Rule, Setting } from "./rule.ts";
import { rules } from "./rules/index.ts";

/**
 * The rules for Pulumi's engine: `pulumi preview --policy-pack policy`. Rules that look at one resource are checked
 * before it is touched; those of the whole stack once all of it is declared, in a preview before anything is.
 */
new PolicyPack("geocrop-storage", { policies: rules.map(policyOf) });

function policyOf(rule: Rule): ResourceValidationPolicy | StackValidationPolicy {
  const policy = {
    name: rule.id,
    description: `${rule.description} ${rule.why} Source: ${rule.source}. To mend it: ${rule.remedy}`,
    enforcementLevel: rule.level,
    configSchema: {
      properties: Object.fromEntries(
        Object.entries(rule.defaults).map(([key, value]) => [key, schemaOf(value)]),
      ),
    },
  };
  if (rule.scope === "resource") {
    return {
      ...policy,
      validateResource: (args, report) => {
        const { urn, type, name, props, opts } = args;
        const subject = { urn, type, name, props, protect: opts.protect };
        for (const { message } of rule.check([subject], args.getConfig())) report(message);
      },
    };
  }
  return {
    ...policy,
    validateStack: (args, report) => {
      const subjects = args.resources.map(({ urn, type, name, props, opts }) => ({
        urn,
        type,
        name,
        props,
        protect: opts.protect,
      }));
      for (const { subject, message } of rule.check(subjects, args.getConfig())) report(message, subject.urn);
    },
  };
}

function schemaOf(value: Setting) {
  if (typeof value === "number") return { type: "number" as const, default: value };
  if (typeof value === "string") return { type: "string" as const, default: value };
  return { type: "array" as const, items: { type: "string" as const }, default: [...value] };
}
