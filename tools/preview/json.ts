import type { Change } from "./plan.ts";
import type { PropertyChange } from "./properties.ts";
import { isSecret } from "../program/recording.ts";
import { exitCodeOf, withoutMarks, type Report, type ReportedChange } from "./report.ts";

/** The report for programs. `version` goes up when a field changes its meaning or goes. */
export function renderJson(report: Report): string {
  const { stack, base, head, remarks, counts, unchanged } = report;
  const document = {
    version: 1,
    stack,
    base,
    head,
    remarks,
    exitCode: exitCodeOf(report),
    counts,
    unchanged,
    changes: [...[...report.changes, ...report.waiting].map(withMeaning), ...report.components.map(identity)],
    options: report.options.map(({ resource, option, before, after, risk }) => ({
      urn: resource.urn,
      option,
      before,
      after,
      risk,
    })),
    outputs: report.outputs.map((output) => plainProperty(output)),
    violations: report.violations.map(({ rule, level, title, message }) => ({
      policy: rule.id,
      level,
      resource: title,
      message,
      remedy: rule.remedy,
    })),
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

function withMeaning(change: ReportedChange) {
  const { title, properties, replacing, pending, risks, interruptions, notes } = change;
  return {
    ...identity(change),
    title,
    properties: properties.map((property) => plainProperty(property, replacing)),
    pending,
    risks,
    interruptions,
    notes,
  };
}

function identity({ operation, resource: { urn, type, name, custom } }: Change) {
  return { operation, urn, type, name, custom };
}

function plainProperty({ path, before, after }: PropertyChange, replacing: readonly string[] = []) {
  return {
    path,
    before: before === undefined ? undefined : withoutMarks(before),
    after: after === undefined ? undefined : withoutMarks(after),
    secret: isSecret(before) || isSecret(after) ? true : undefined,
    replaces: replacing.includes(path) ? true : undefined,
  };
}
