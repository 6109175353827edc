import { randomBytes } from "node:crypto";
import { realpathSync } from "node:fs";

import { rules } from "../../policy/rules/index.ts";
import { provideDependencies } from "../program/dependencies.ts";
import { UserError, messageOf } from "../command-line.ts";
import { baseOf, headOf, uncommitted, withWorktree, type Revision } from "./git.ts";
import { planChanges } from "./plan.ts";
import { checkPolicies, readPolicyConfig } from "./policies.ts";
import { readOrder, stacksOf } from "../program/project.ts";
import { recordProgram } from "../program/record.ts";
import type { Order, Recording } from "../program/recording.ts";
import { reportOn, type Report } from "./report.ts";

export interface PreviewOptions {
  readonly stack: string;
  /** The revision to compare with. @default where this branch left main */
  readonly base: string | undefined;
  /** Takes the working tree as it is, uncommitted changes included. */
  readonly dirty: boolean;
  /** A file with levels and settings of the policies. */
  readonly policyConfig: string | undefined;
}

/**
 * Compares the program of a folder's working tree with that of a base revision.
 *
 * @throws UserError when one of them cannot be told, and what to do about it.
 */
export async function preview(folder: string, options: PreviewOptions): Promise<Report> {
  const started = performance.now();
  const { stack } = options;
  const project = realpathSync(folder);
  const policyConfig = options.policyConfig === undefined ? {} : readPolicyConfig(options.policyConfig);
  const key = randomBytes(32).toString("hex");
  const order = readOrder(project, stack, key);
  if (order === undefined) throw new UserError(unknownStack(project, stack));

  const head = await headOf(project);
  const changed = await uncommitted(project);
  if (changed.length > 0 && !options.dirty) throw new UserError(dirtyTree(changed));
  const base = await baseOf(project, options.base);

  const [before, after] = await Promise.all([
    inRevision(`The base, ${nameOf(base)}`, () => recordBase(project, base, stack, key)),
    inRevision("The working tree", () => recordProgram(project, order)),
  ]);
  return reportOn(planChanges(before.recording, after), {
    stack,
    base: nameOf(base),
    head: `${nameOf(head)}${changed.length > 0 ? ` and ${changed.length} uncommitted` : ""}`,
    remarks: [
      ...(before.isThere ? [] : [`the base has no Pulumi.${stack}.yaml: the stack is new`]),
      `offline: no state was read, so what was changed by hand or never deployed is not seen. Base's dependencies: ${before.dependencies}. ${seconds(performance.now() - started)}`,
    ],
    violations: checkPolicies(after.resources, policyConfig),
    ruleCount: rules.length,
  });
}

interface BaseRecording {
  readonly recording: Recording;
  readonly isThere: boolean;
  readonly dependencies: string;
}

function recordBase(project: string, base: Revision, stack: string, key: string): Promise<BaseRecording> {
  return withWorktree(project, base, async (worktree) => {
    const order: Order | undefined = readOrder(worktree, stack, key);
    if (order === undefined) {
      return { recording: { resources: [], outputs: {} }, isThere: false, dependencies: "none needed" };
    }
    const dependencies = await provideDependencies(project, worktree);
    return { recording: await recordProgram(worktree, order), isThere: true, dependencies };
  });
}

/** Says which of the two revisions a fault is in. */
async function inRevision<T>(revision: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(`${revision}, cannot be previewed:\n${messageOf(error)}`);
  }
}

const nameOf = ({ ref, commit }: Revision) =>
  commit.startsWith(ref) ? commit.slice(0, 9) : `${ref} (${commit.slice(0, 9)})`;

const seconds = (milliseconds: number) => `${(milliseconds / 1000).toFixed(1)} s`;

function unknownStack(folder: string, stack: string): string {
  const stacks = stacksOf(folder);
  return `there is no stack "${stack}": Pulumi.${stack}.yaml is missing${stacks.length === 0 ? "" : `; there are ${stacks.join(" and ")}`}`;
}

function dirtyTree(changed: readonly string[]): string {
  const shown = changed.slice(0, 8).map((path) => `  ${path}`);
  const more = changed.length > shown.length ? [`  and ${changed.length - shown.length} more`] : [];
  return [
    "the working tree has changes that are not committed, so the report would be of no commit:",
    ...shown,
    ...more,
    "Commit or stash them, or add --dirty to look at the tree as it is.",
  ].join("\n");
}
