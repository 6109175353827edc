import { z } from "zod";

/** A Kubernetes label selector, read strictly: an operator or field that is not listed here is a fault. */
export const labelSelectorSchema = z.strictObject({
  matchLabels: z.record(z.string(), z.string()).default({}),
  matchExpressions: z
    .array(
      z.discriminatedUnion("operator", [
        z.strictObject({
          key: z.string().min(1),
          operator: z.enum(["In", "NotIn"]),
          values: z.array(z.string()).min(1),
        }),
        z.strictObject({
          key: z.string().min(1),
          operator: z.enum(["Exists", "DoesNotExist"]),
          values: z.array(z.string()).max(0).optional(),
        }),
      ]),
    )
    .default([]),
});

export type LabelSelector = z.infer<typeof labelSelectorSchema>;
export type Labels = Readonly<Record<string, string>>;

/** Whether all of the selector's requirements hold. An empty selector matches everything. */
export function selectorMatches(selector: LabelSelector, labels: Labels): boolean {
  return (
    Object.entries(selector.matchLabels).every(([key, value]) => own(labels, key) === value) &&
    selector.matchExpressions.every((requirement) => requirementHolds(requirement, labels))
  );
}

function requirementHolds(requirement: LabelSelector["matchExpressions"][number], labels: Labels): boolean {
  const value = own(labels, requirement.key);
  const listed = value !== undefined && (requirement.values ?? []).includes(value);
  const holds = {
    In: listed,
    // As in Kubernetes, a pod without the key matches NotIn.
    NotIn: !listed,
    Exists: value !== undefined,
    DoesNotExist: value === undefined,
  };
  return holds[requirement.operator];
}

/** Keys such as "constructor" are legal, so what every object inherits must not count. */
function own(labels: Labels, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}
