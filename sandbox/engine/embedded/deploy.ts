import * as pulumi from "@pulumi/pulumi";

import { Monitor, Stopped, type Handler, type Mode, type Step } from "./monitor.ts";
import type { State } from "./state.ts";
import type { Json, Redactor } from "./values.ts";

export interface Deployment {
  readonly mode: Mode;
  readonly project: string;
  readonly stack: string;
  readonly config: Readonly<Record<string, string>>;
  /** Imports the program and returns its module. */
  readonly program: () => Promise<unknown>;
  readonly state: State;
  readonly handlers: Readonly<Record<string, Handler>>;
  readonly redactor: Redactor;
  readonly report: (step: Step) => void;
  readonly note: (text: string) => void;
  /** Stops the run after what is under way. */
  readonly signal: AbortSignal;
}

/** The stack's outputs; secret ones without their value. */
export type Outputs = Readonly<Record<string, { readonly isSecret: true } | { readonly value: Json }>>;

/**
 * Runs the program against the live servers, then deletes what it no longer declares (in mode "destroy": everything).
 * A run that fails deletes nothing.
 *
 * @throws the first fault; {@link Stopped} when stopped by the signal
 */
export async function deploy(deployment: Deployment): Promise<Outputs> {
  const { mode, project, stack, config, program, state, signal, report } = deployment;
  const isDestroy = mode === "destroy";
  const monitor = new Monitor({
    ...deployment,
    // To destroy, the program runs only to find its providers; what it declares is no news.
    report: isDestroy ? (step) => (isDeletion(step) ? report(step) : undefined) : report,
  });
  // The SDK lets what goes wrong in a program surface as unhandled rejections, one for each promise it passed through.
  const stray = (error: unknown): void => monitor.stop(error);
  const interrupt = (): void => monitor.stop(new Stopped("interrupted"));
  // Under the CLI the engine's connection keeps the process alive; a program may wait for what does not (its tunnel).
  const alive = setInterval(() => undefined, 60_000);
  process.on("unhandledRejection", stray);
  signal.addEventListener("abort", interrupt);
  try {
    pulumi.runtime.setAllConfig({ ...config });
    await pulumi.runtime.setMocks(monitor, project, stack, mode !== "up");
    const outputs = await Promise.race([monitor.failure, run(monitor, program)]);
    await Promise.race([monitor.failure, monitor.prune(isDestroy)]);
    if (mode === "up") state.reorder(monitor.completed);
    return outputs;
  } catch (error) {
    monitor.stop(error);
    throw error;
  } finally {
    await monitor.settled();
    signal.removeEventListener("abort", interrupt);
    await new Promise(setImmediate); // the last of a failed program's rejections
    process.off("unhandledRejection", stray);
    clearInterval(alive);
  }
}

function isDeletion({ change }: Step): boolean {
  return change === "delete" || change === "forget";
}

async function run(monitor: Monitor, program: () => Promise<unknown>): Promise<Outputs> {
  let exported: Record<string, unknown> = {};
  const values: unknown = await pulumi.runtime.runInPulumiStack(async () => {
    monitor.watchOptions();
    exported = exportsOf(await program());
    return exported;
  });
  await pulumi.runtime.disconnect(); // once nothing is asked for any more
  const outputs: Record<string, { isSecret: true } | { value: Json }> = {};
  for (const [name, value] of Object.entries(isMap(values) ? values : {})) {
    const isSecret = await pulumi.isSecret(pulumi.output(exported[name]));
    outputs[name] = isSecret ? { isSecret } : { value: asJson(value) };
  }
  return outputs;
}

/** The named exports, or the default one in their place. */
function exportsOf(module: unknown): Record<string, unknown> {
  const exported: unknown = isMap(module) && "default" in module ? module["default"] : module;
  return isMap(exported) ? { ...exported } : {};
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function asJson(value: unknown): Json {
  return value === undefined ? null : JSON.parse(JSON.stringify(value));
}
