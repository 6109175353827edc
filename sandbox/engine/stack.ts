/**
 * Runs one operation of Pulumi's engine on a stack, with the project's program inline: the Automation API serves the
 * program to the CLI, so no language host is needed. A process of its own for each operation, since a program runs but
 * once in a process, and so that an interrupt reaches the CLI.
 */
import { copyFile, mkdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { pathToFileURL } from "node:url";

import {
  type EngineEvent,
  LocalWorkspace,
  type OpMap,
  PulumiCommand,
  type Stack,
} from "@pulumi/pulumi/automation/index.js";
import { z } from "zod";

const usage = `Usage: node sandbox/engine/stack.ts up|preview|refresh|destroy [options]

Runs Pulumi's engine on the stack "dev" in a folder that holds its stack file.

  --cli DIR            the folder whose bin/pulumi is the CLI
  --folder DIR         the stack's folder: Pulumi.dev.yaml, state, passphrase
  --project DIR        the project that holds the program [this one]
  --no-program         refresh or destroy without running the program
  --policy-pack DIR    checks what is declared by a policy pack
  --json               prints the result as JSON on standard output, the engine's own output on standard error

PULUMI_HOME, PULUMI_BACKEND_URL and PULUMI_CONFIG_PASSPHRASE_FILE as the CLI reads them.`;

const stackName = "dev";
const packageSchema = z.looseObject({ main: z.string().optional() });

/** What an operation did, or would do. */
export interface OperationResult {
  /** Number of resources by what happens to them: `create`, `same`, `update`, ... */
  readonly changes: OpMap;
  /** What happens to each resource, by URN; a resource that stays as it is is not named. */
  readonly steps: readonly { readonly op: string; readonly urn: string; readonly keys: readonly string[] }[];
}

const operations = ["up", "preview", "refresh", "destroy"] as const;
type Operation = (typeof operations)[number];

async function main(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      cli: { type: "string" },
      folder: { type: "string" },
      project: { type: "string", default: resolve(import.meta.dirname, "../..") },
      "no-program": { type: "boolean", default: false },
      "policy-pack": { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const operation = operations.find((name) => name === positionals[0]);
  if (values.help || operation === undefined || values.cli === undefined || values.folder === undefined) {
    process.stdout.write(`${usage}\n`);
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  const show = (text: string): void => void (values.json ? process.stderr : process.stdout).write(text);
  const stack = await openStack(values.cli, values.folder, resolve(values.project));
  const result = await operate(stack, operation, {
    runProgram: !values["no-program"],
    policyPack: values["policy-pack"],
    show,
    signal: interruption(),
  });
  if (values.json) process.stdout.write(`${JSON.stringify(result)}\n`);
}

/** The stack of a folder, made if it is not there yet. */
async function openStack(cli: string, folder: string, project: string): Promise<Stack> {
  await mkdir(folder, { recursive: true });
  await copyFile(join(project, "Pulumi.yaml"), join(folder, "Pulumi.yaml"));
  // The tunnel's file is named relative to the folder that the engine starts its plugins in.
  process.chdir(folder);
  return LocalWorkspace.createOrSelectStack(
    {
      stackName,
      projectName: "geocrop-storage",
      program: async (): Promise<Record<string, unknown>> => {
        const exported: Record<string, unknown> = await import(
          pathToFileURL(join(project, await entryOf(project))).href
        );
        return { ...exported };
      },
    },
    { workDir: folder, pulumiCommand: await PulumiCommand.get({ root: resolve(cli) }) },
  );
}

/** The program's entry, as the CLI finds it. */
async function entryOf(project: string): Promise<string> {
  const { main } = packageSchema.parse(JSON.parse(await readFile(join(project, "package.json"), "utf8")));
  return main ?? "index.ts";
}

interface OperationOptions {
  readonly runProgram: boolean;
  readonly policyPack: string | undefined;
  readonly show: (text: string) => void;
  readonly signal: AbortSignal;
}

async function operate(
  stack: Stack,
  operation: Operation,
  { runProgram, policyPack, show, signal }: OperationOptions,
): Promise<OperationResult> {
  const steps: { op: string; urn: string; keys: readonly string[] }[] = [];
  let changes: OpMap = {};
  const common = {
    onOutput: show,
    onError: show,
    color: "never" as const,
    signal,
    onEvent: ({ resourcePreEvent, resOutputsEvent, summaryEvent }: EngineEvent): void => {
      const step = resourcePreEvent?.metadata ?? resOutputsEvent?.metadata;
      if (summaryEvent !== undefined) changes = summaryEvent.resourceChanges;
      if (
        step === undefined ||
        step.op === "same" ||
        steps.some(({ urn, op }) => urn === step.urn && op === step.op)
      )
        return;
      steps.push({ op: step.op, urn: step.urn, keys: step.diffs ?? [] });
    },
  };
  const withPolicies = policyPack === undefined ? common : { ...common, policyPacks: [resolve(policyPack)] };
  switch (operation) {
    case "up":
      await stack.up(withPolicies);
      break;
    case "preview":
      await stack.preview(withPolicies);
      break;
    case "refresh":
      await stack.refresh({ ...common, runProgram });
      break;
    case "destroy":
      await stack.destroy({ ...common, runProgram });
      break;
  }
  return { changes, steps };
}

/** An interrupt cancels the operation: the CLI gets SIGINT, finishes what is under way and writes its state. */
function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => controller.abort());
  return controller.signal;
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  // What went wrong stands in the engine's own output, which has been shown.
  const [summary = "the operation failed"] = error instanceof Error ? error.message.split("\n") : [];
  process.stderr.write(`\n${summary}\n`);
  process.exitCode = 1;
}
