import { stringify } from "yaml";

import {
  describeProperty,
  operations,
  risksOf,
  signs,
  waitingReason,
  withoutMarks,
  type Report,
  type ReportedChange,
} from "./report.ts";
import { policySummary } from "./text.ts";

/** GitHub cuts a comment off at 65,536 characters. */
const longest = 60_000;

/** A value of one property may take this many characters of a comment; the whole is in the terminal's report. */
const longestLine = 400;

/** By this line the posting workflow finds its former comment. */
export const markerOf = (stack: string): string => `<!-- geocrop-storage preview of ${stack} -->`;

/**
 * The report for a pull request's comment: counts and what is grave in the open, details folded. Where it would be
 * too long, details are left out from the least grave one on, and that is said.
 */
export function renderMarkdown(report: Report): string {
  const head = [
    markerOf(report.stack),
    `### Stack ${code(report.stack)}: ${verdict(report)}`,
    "",
    `| ${operations.map((operation) => `${signs[operation]} ${operation}`).join(" | ")} | unchanged |`,
    `| ${operations.map(() => "--:").join(" | ")} | --: |`,
    `| ${operations.map((operation) => report.counts[operation]).join(" | ")} | ${report.unchanged} |`,
    "",
    ...bullets(
      "Data at risk",
      risksOf(report).map(({ title, risk }) => `${code(title)}: ${escape(risk)}`),
    ),
    ...bullets(
      "Interruptions",
      report.changes.flatMap(({ title, interruptions }) =>
        interruptions.map((interruption) => `${code(title)}: ${escape(interruption)}`),
      ),
    ),
    ...bullets(
      "Policies",
      report.violations.map(
        ({ rule, level, title, message }) =>
          `**${rule.id}** (${level}), ${code(title)}: ${escape(message)}. ${escape(rule.remedy)}`,
      ),
    ),
    ...bullets("Options and outputs", [
      ...report.options.map(
        ({ title, option, before, after }) =>
          `${code(title)}: ${option} ${code(String(before))} → ${code(String(after))}`,
      ),
      ...report.outputs.flatMap((output) => describeProperty(output).map((line) => code(line.trim()))),
    ]),
  ];
  const foot = [
    "",
    `<sub>${[`${report.base} → ${report.head}`, ...report.remarks, policySummary(report)].map(escape).join(" · ")}</sub>`,
    "",
  ];
  const details = [...report.changes.map(detail), ...waitingDetail(report.waiting)];
  return fit(head, details, foot);
}

/** Drops details from the end until the whole fits; what is in the open is cut only as a last resort. */
function fit(head: readonly string[], details: readonly string[], foot: readonly string[]): string {
  const opening = head.join("\n");
  const closing = foot.join("\n");
  const room = longest - closing.length - 200;
  let text = opening.length <= room ? opening : `${opening.slice(0, room)}\n\n…`;
  let shown = 0;
  for (const part of details) {
    if (text.length + part.length > room) break;
    text += `\n${part}`;
    shown += 1;
  }
  const left = details.length - shown;
  const notice =
    left === 0
      ? ""
      : `\n\n**${left} of ${details.length} changes are not shown here:** the job's log has all.`;
  return `${text}${notice}\n${closing}`;
}

function verdict(report: Report): string {
  const risks = risksOf(report).length;
  if (risks > 0) return `⚠️ data at risk (${risks})`;
  if (report.violations.some(({ level }) => level === "mandatory")) return "✗ policies broken";
  const total = operations.reduce((sum, operation) => sum + report.counts[operation], 0);
  return total === 0 ? "no resource changes" : `${total} change${total === 1 ? "" : "s"}, no data at risk`;
}

function bullets(title: string, items: readonly string[]): string[] {
  return items.length === 0 ? [] : [`**${title}**`, "", ...items.map((item) => `- ${item}`), ""];
}

function detail(change: ReportedChange): string {
  const { operation, resource, title, properties, replacing, pending, notes } = change;
  const heading = `<code>${signs[operation]} ${escape(title)}</code> ${operation}`;
  const lines = [
    ...(operation === "create" ? declaration(resource) : []),
    ...properties.flatMap((property) => describeProperty(property, replacing)),
    ...pending.map((property) => `  ${property}: known only when what it comes from is there`),
    ...notes.map((note) => `# ${note}`),
  ].map((line) => (line.length > longestLine ? `${line.slice(0, longestLine)}…` : line));
  if (lines.length === 0) return `- ${heading}`;
  return `<details><summary>${heading}</summary>\n\n${fence(lines)}\n\n</details>`;
}

/** All of what is new, for there is nothing to compare it with. */
function declaration({ inputs }: ReportedChange["resource"]): string[] {
  return stringify(withoutMarks(inputs), { lineWidth: 0 })
    .trimEnd()
    .split("\n")
    .map((line) => `+ ${line}`);
}

function waitingDetail(waiting: readonly ReportedChange[]): string[] {
  if (waiting.length === 0) return [];
  const titles = waiting.map(({ title }) => `- ${code(title)}`).join("\n");
  return [
    `<details><summary><code>~</code> ${waiting.length} more, ${waitingReason}</summary>\n\n${titles}\n\n</details>`,
  ];
}

/** A fence that nothing inside can close. */
function fence(lines: readonly string[]): string {
  const runs = lines.join("\n").match(/`{3,}/g) ?? [];
  const ticks = "`".repeat(Math.max(3, ...runs.map((run) => run.length + 1)));
  return `${ticks}diff\n${lines.join("\n")}\n${ticks}`;
}

/** Text of the revision under review is nobody's markup, mention or link. */
function escape(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll(/[\\`*_[\]#|~]/g, String.raw`\$&`)
    .replaceAll("@", "@\u200B");
}

function code(text: string): string {
  return `\`${text.replaceAll("`", "'")}\``;
}
