import { UsageError } from "../../command-line.ts";
import type { Check } from "../check.ts";
import { auditChecks } from "./audit.ts";
import { bucketChecks } from "./buckets.ts";
import { downloadChecks } from "./downloads.ts";
import { identityChecks } from "./identities.ts";
import { networkChecks } from "./network.ts";
import { transportChecks } from "./transport.ts";
import { workloadChecks } from "./workloads.ts";

/** All checks; those that wait longest come first. */
export const checks: readonly Check[] = [
  ...networkChecks,
  ...auditChecks,
  ...downloadChecks,
  ...bucketChecks,
  ...identityChecks,
  ...transportChecks,
  ...workloadChecks,
];

/** The checks that are asked for, by id or family. @throws UsageError naming what is no check. */
export function chosenChecks(only: string | undefined): readonly Check[] {
  if (only === undefined) return checks;
  const wanted = only.split(",");
  const unknown = wanted.filter((name) => !checks.some(({ id }) => id === name || id.startsWith(`${name}.`)));
  if (unknown.length > 0)
    throw new UsageError(`there is no check or family "${unknown.join(", ")}": see --list`);
  return checks.filter(({ id }) => wanted.some((name) => id === name || id.startsWith(`${name}.`)));
}
