import { meaningOf, optionRisk, type Meaning } from "./meaning.ts";
import type { Change, Operation, OptionChange, Plan } from "./plan.ts";
import type { Violation } from "./policies.ts";
import { isWithin, type PropertyChange } from "./properties.ts";
import { isSecret, isUnknown, type Json } from "../program/recording.ts";
import { titleOf } from "./titles.ts";

/** All that there is to say of a pull request, for every form that it is said in. */
export interface Report {
  readonly stack: string;
  readonly base: string;
  readonly head: string;
  /** What the reader must know of how it came about. */
  readonly remarks: readonly string[];
  readonly counts: Readonly<Record<Operation, number>>;
  readonly unchanged: number;
  /** Of resources that have a provider; the gravest first. */
  readonly changes: readonly ReportedChange[];
  /** Those of them that are planned only because something before them is made anew. */
  readonly waiting: readonly ReportedChange[];
  /** Components that come or go. */
  readonly components: readonly Change[];
  readonly options: readonly ReportedOption[];
  readonly outputs: readonly PropertyChange[];
  readonly violations: readonly Violation[];
  readonly ruleCount: number;
}

export interface ReportedChange extends Change, Meaning {
  readonly title: string;
}

export interface ReportedOption extends OptionChange {
  readonly title: string;
  readonly risk: string | undefined;
}

export const operations: readonly Operation[] = ["replace", "delete", "create", "update"];
export const signs: Readonly<Record<Operation, string>> = {
  create: "+",
  update: "~",
  replace: "±",
  delete: "-",
};

interface Particulars {
  readonly stack: string;
  readonly base: string;
  readonly head: string;
  readonly remarks: readonly string[];
  readonly violations: readonly Violation[];
  readonly ruleCount: number;
}

export function reportOn(plan: Plan, particulars: Particulars): Report {
  const all = plan.changes
    .filter(({ resource }) => resource.custom)
    .map(reported)
    .toSorted((a, b) => gravity(a) - gravity(b) || (a.title < b.title ? -1 : 1));
  const count = (operation: Operation) => all.filter((change) => change.operation === operation).length;
  return {
    ...particulars,
    counts: {
      create: count("create"),
      update: count("update"),
      replace: count("replace"),
      delete: count("delete"),
    },
    unchanged: plan.unchanged,
    changes: all.filter((change) => !isWaiting(change)),
    waiting: all.filter(isWaiting),
    components: plan.changes.filter(({ resource }) => !resource.custom),
    options: plan.options.map((option) => ({
      ...option,
      title: titleOf(option.resource),
      risk: optionRisk(option),
    })),
    outputs: plan.outputs,
  };
}

function reported(change: Change): ReportedChange {
  // Of what is seen to change, that it is not known yet adds nothing.
  const pending = change.pending.filter(
    (property) => !change.properties.some(({ path }) => isWithin(path, property)),
  );
  return { ...change, ...meaningOf(change), pending, title: titleOf(change.resource) };
}

const isWaiting = ({ operation, properties }: Change) => operation === "update" && properties.length === 0;

function gravity({ risks, interruptions, operation }: ReportedChange): number {
  if (risks.length > 0) return 0;
  return interruptions.length > 0 ? 1 : 2 + operations.indexOf(operation);
}

/** Why some are planned that no line of the program says anything of. */
export const waitingReason =
  "planned only because their provider cannot be asked before what is made anew is there; most likely as before";

/** Each risk with what it is of. */
export function risksOf({ changes, options }: Report): { title: string; risk: string }[] {
  return [
    ...changes.flatMap(({ title, risks }) => risks.map((risk) => ({ title, risk }))),
    ...options.flatMap(({ title, risk }) => (risk === undefined ? [] : [{ title, risk }])),
  ];
}

/** 0 no change, 2 changes, 3 data at risk, 1 a breach of a mandatory policy: the engine would refuse it. */
export function exitCodeOf(report: Report): 0 | 1 | 2 | 3 {
  if (report.violations.some(({ level }) => level === "mandatory")) return 1;
  if (risksOf(report).length > 0) return 3;
  const { changes, components, options, outputs } = report;
  const isChanged = [changes, components, options, outputs].some((list) => list.length > 0);
  return isChanged ? 2 : 0;
}

/** Values up to this length stand beside their path. */
const longestInline = 48;

/** A value as text; only long lists and texts that have lines take several. */
export function showValue(path: string, value: Json | undefined): string {
  if (value === undefined) return "(none)";
  if (isSecret(value)) return "[secret]";
  if (isUnknown(value)) return "(known after the update)";
  if (typeof value === "number" && path === "quota") return `${value} (${bytes(value)})`;
  if (typeof value === "string") return value;
  // One entry a line, where a list is long: then those that came or went are seen.
  const text = JSON.stringify(withoutMarks(value));
  return Array.isArray(value) && text.length > longestInline
    ? value.map((entry) => JSON.stringify(withoutMarks(entry))).join("\n")
    : text;
}

function bytes(value: number): string {
  const units = ["B", "Ki", "Mi", "Gi", "Ti"];
  const power = Math.min(4, Math.max(0, Math.floor(Math.log2(Math.max(value, 1)) / 10)));
  return `${Number((value / 2 ** (10 * power)).toFixed(2))}${units[power]}`;
}

/** Digests of secrets are for comparing; nobody needs to see them. */
export function withoutMarks(value: Json): Json {
  if (isSecret(value)) return "[secret]";
  if (isUnknown(value)) return "(known after the update)";
  if (Array.isArray(value)) return value.map(withoutMarks);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withoutMarks(item)]));
}

/** One changed property in a few lines, of which the signs "+" and "-" come first in those that came or went. */
export function describeProperty(
  { path, before, after }: PropertyChange,
  replacing: readonly string[] = [],
): string[] {
  const why = replacing.includes(path) ? "   (cannot change: it is replaced)" : "";
  if (isSecret(before) && isSecret(after)) return [`  ${path}: [secret] changed${why}`];
  const texts = [showValue(path, before), showValue(path, after)] as const;
  if (texts.every((text) => !text.includes("\n") && text.length <= longestInline)) {
    return [`  ${path}: ${texts[0]} → ${texts[1]}${why}`];
  }
  if (before === undefined) return [`  ${path}:${why}`, ...texts[1].split("\n").map((line) => `+   ${line}`)];
  if (after === undefined) return [`  ${path}:${why}`, ...texts[0].split("\n").map((line) => `-   ${line}`)];
  return [`  ${path}:${why}`, ...diffLines(texts[0].split("\n"), texts[1].split("\n"))];
}

/** The lines that came and went, found by the longest common subsequence. */
function diffLines(before: readonly string[], after: readonly string[]): string[] {
  const width = after.length + 1;
  const lengths = new Uint16Array((before.length + 1) * width);
  const common = (i: number, j: number) => lengths[i * width + j] ?? 0;
  for (let i = before.length - 1; i >= 0; i -= 1) {
    for (let j = after.length - 1; j >= 0; j -= 1) {
      lengths[i * width + j] =
        before[i] === after[j] ? common(i + 1, j + 1) + 1 : Math.max(common(i + 1, j), common(i, j + 1));
    }
  }
  const lines: string[] = [];
  let [i, j] = [0, 0];
  while (i < before.length || j < after.length) {
    if (i < before.length && j < after.length && before[i] === after[j]) [i, j] = [i + 1, j + 1];
    else if (j >= after.length || (i < before.length && common(i + 1, j) >= common(i, j + 1))) {
      lines.push(`-   ${before[i]}`);
      i += 1;
    } else {
      lines.push(`+   ${after[j]}`);
      j += 1;
    }
  }
  return lines;
}
