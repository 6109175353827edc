import { stripVTControlCharacters, styleText } from "node:util";

import type { Operation } from "./plan.ts";
import {
  describeProperty,
  risksOf,
  signs,
  waitingReason,
  type Report,
  type ReportedChange,
} from "./report.ts";
import { kindOf } from "./titles.ts";

type Paint = (style: Parameters<typeof styleText>[0], text: string) => string;

const styles = { create: "green", update: "yellow", replace: "magenta", delete: "red" } as const;
/** Columns for values, which are cut off there, and for sentences, which are wrapped. */
const widest = 160;
const proseWidth = 110;

/** The report for a terminal, most important first. */
export function renderText(report: Report, isColoured: boolean): string {
  const paint: Paint = (style, text) =>
    isColoured ? styleText(style, text, { validateStream: false }) : text;
  const lines = [
    paint("bold", show(`Stack ${report.stack}: ${report.base} → ${report.head}`)),
    ...report.remarks.flatMap((remark) => prose("", remark)).map((line) => paint("dim", line)),
    summary(report, paint),
  ];
  const section = (title: string, style: Parameters<typeof styleText>[0], body: readonly string[]) => {
    if (body.length > 0) lines.push("", paint(["bold", ...[style].flat()], title), ...body);
  };
  section(
    "Data at risk",
    "red",
    risksOf(report).flatMap(({ title, risk }) => prose("  ! ", `${title}: ${risk}`)),
  );
  section(
    "Interruptions",
    "yellow",
    report.changes.flatMap(({ title, interruptions }) =>
      interruptions.flatMap((interruption) => prose("  ! ", `${title}: ${interruption}`)),
    ),
  );
  section(
    "Policies",
    "red",
    report.violations.flatMap(({ rule, level, title, message }) => [
      show(`  ${level === "mandatory" ? "✗" : "·"} ${rule.id} (${level}), ${title}: ${message}`),
      paint("dim", show(`      ${rule.remedy}`)),
    ]),
  );
  section(
    "Changes",
    "reset",
    report.changes.flatMap((change) => changeLines(change, paint)),
  );
  lines.push(...waitingLines(report.waiting, paint));
  section(
    "Options",
    "reset",
    report.options.map(({ title, option, before, after }) =>
      show(`  ${title}: ${option} ${String(before)} → ${String(after)}`),
    ),
  );
  section(
    "Stack outputs",
    "reset",
    report.outputs.flatMap((output) => describeProperty(output).map(show)),
  );
  return `${lines.join("\n")}\n`;
}

const words: Readonly<Record<Operation, string>> = {
  replace: "to replace",
  delete: "to delete",
  create: "to create",
  update: "to update",
};

function summary(report: Report, paint: Paint): string {
  const counts = (["replace", "delete", "create", "update"] as const)
    .filter((operation) => report.counts[operation] > 0)
    .map((operation) => paint(styles[operation], `${report.counts[operation]} ${words[operation]}`));
  const risks = risksOf(report).length;
  const parts = [
    ...(counts.length === 0 ? ["no resource changes"] : counts),
    `${report.unchanged} unchanged`,
    risks === 0 ? "no data at risk" : paint(["bold", "red"], `DATA AT RISK (${risks})`),
    policySummary(report),
  ];
  return parts.join(", ");
}

export function policySummary({ violations, ruleCount }: Report): string {
  if (violations.length === 0) return `all ${ruleCount} policies kept`;
  const mandatory = violations.filter(({ level }) => level === "mandatory").length;
  return `policies broken: ${mandatory} mandatory, ${violations.length - mandatory} advisory`;
}

function changeLines(change: ReportedChange, paint: Paint): string[] {
  const { operation, title, properties, replacing, pending, notes } = change;
  return [
    `  ${paint(styles[operation], `${signs[operation]} ${show(title)}`)}`,
    ...properties.flatMap((property) =>
      describeProperty(property, replacing).map((line) => show(`    ${line}`)),
    ),
    ...pending.map((property) =>
      paint("dim", show(`      ${property}: known only when what it comes from is there`)),
    ),
    ...notes.flatMap((note) => prose("      ", note)).map((line) => paint("dim", line)),
  ];
}

function waitingLines(waiting: readonly ReportedChange[], paint: Paint): string[] {
  if (waiting.length === 0) return [];
  return [
    paint(styles.update, `  ~ ${waiting.length} more, ${waitingReason}:`),
    ...prose("      ", tally(waiting.map(({ resource }) => kindOf(resource)))).map((line) =>
      paint("dim", line),
    ),
  ];
}

/** `2 IamUser, 1 S3Bucket` */
function tally(kinds: readonly string[]): string {
  const names = [...new Set(kinds)];
  return names.map((name) => `${kinds.filter((kind) => kind === name).length} ${name}`).join(", ");
}

/** Sentences are told whole, on as many lines as they take; the first begins with the margin as it is. */
function prose(margin: string, text: string): string[] {
  const lines: string[] = [];
  for (const word of stripVTControlCharacters(text).split(/\s+/)) {
    const last = lines.at(-1);
    if (last === undefined) lines.push(margin + word);
    else if (last.length + word.length < proseWidth) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(" ".repeat(margin.length) + word);
  }
  return lines;
}

/** Values come from the revision under review: nothing in them may steer the terminal. */
const show = (line: string) => shorten(stripVTControlCharacters(line));

const shorten = (line: string) => (line.length <= widest ? line : `${line.slice(0, widest - 1)}…`);
