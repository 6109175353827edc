import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

import { readProject, readStackConfig } from "./config.ts";
import { deploy, type Outputs } from "./deploy.ts";
import { KubernetesObjects } from "./kubernetes.ts";
import { MinioObjects } from "./minio.ts";
import { ResourceFault, Stopped, type Mode, type Step } from "./monitor.ts";
import { randomValues } from "./random.ts";
import { lockState, State } from "./state.ts";
import { tlsValues } from "./tls.ts";
import { Redactor } from "./values.ts";

const usage = `Usage: node sandbox/engine/embedded/main.ts up|preview|destroy --stack NAME --state FILE [options]

Runs the stack's own program without the Pulumi CLI, for trying and testing only.

  --stack NAME         the stack
  --state FILE         where generated values and the list of what was made are kept (mode 0600)
  --config-file FILE   the stack file (default: Pulumi.NAME.yaml)
  --mc FILE            MinIO's client (default: $GEOCROP_MC, else "mc")
  --outputs FILE       writes the stack's outputs there as JSON, secret ones masked
  --cwd DIR            the project's folder (default: the current one)
  --json               prints one JSON object a line

The cluster is the one that KUBECONFIG names.
`;

const notice =
  "The embedded deployer is in use. It tries the stack out where the Pulumi CLI and its plugins cannot be had; it is no replacement for them.";

const words: Readonly<Record<Step["change"], { sign: string; done: string; planned: string }>> = {
  create: { sign: "+", done: "created", planned: "to create" },
  update: { sign: "~", done: "updated", planned: "to update" },
  replace: { sign: "±", done: "replaced", planned: "to replace" },
  delete: { sign: "-", done: "deleted", planned: "to delete" },
  forget: { sign: "-", done: "forgotten", planned: "to forget" },
  same: { sign: " ", done: "unchanged", planned: "unchanged" },
};

/** Says what happens: to people in lines, to programs in JSON. */
class Report {
  readonly #isJson: boolean;
  readonly #mode: Mode;
  readonly #redactor: Redactor;
  readonly #counts = new Map<Step["change"], number>();
  readonly #started = performance.now();

  constructor(isJson: boolean, mode: Mode, redactor: Redactor) {
    this.#isJson = isJson;
    this.#mode = mode;
    this.#redactor = redactor;
  }

  say(event: string, message: string): void {
    this.#print({ event, message }, event === "note" ? `    ${message}` : message);
  }

  step({ change, type, name, milliseconds }: Step): void {
    this.#counts.set(change, (this.#counts.get(change) ?? 0) + 1);
    if (change === "same" && !this.#isJson) return;
    const { sign, done, planned } = words[change];
    const kind = type.split(":").at(-1) ?? type;
    const text =
      this.#mode === "preview"
        ? `  ${sign} ${kind} ${name} ${planned}`
        : `  ${sign} ${kind} ${name} ${done} (${seconds(milliseconds)})`;
    this.#print({ event: "step", change, type, name, milliseconds: Math.round(milliseconds) }, text);
  }

  summary(outputs: Outputs): void {
    const word = this.#mode === "preview" ? "planned" : "done";
    const counts = [...this.#counts].map(([change, count]) => `${count} ${words[change][word]}`);
    const masked = mask(outputs);
    const lines = Object.entries(masked).map(([name, value]) => `  ${name}: ${JSON.stringify(value)}`);
    const milliseconds = performance.now() - this.#started;
    this.#print(
      {
        event: "summary",
        changes: Object.fromEntries(this.#counts),
        milliseconds: Math.round(milliseconds),
        outputs: masked,
      },
      [
        `${counts.join(", ") || "nothing declared"}, in ${seconds(milliseconds)}`,
        ...(lines.length > 0 && this.#mode === "up" ? ["Outputs:", ...lines] : []),
      ].join("\n"),
    );
  }

  #print(event: Record<string, unknown>, text: string): void {
    console.log(this.#redactor.redact(this.#isJson ? JSON.stringify(event) : text));
  }
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

function mask(outputs: Outputs): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(outputs).map(([name, output]) => [name, "value" in output ? output.value : "[secret]"]),
  );
}

/** Faults of the program come with their place; whatever is the user's to mend, as one message. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isPlain = error instanceof ResourceFault || error.constructor === Error || error.name === "RunError";
  return isPlain || error.stack === undefined ? error.message : error.stack;
}

function readArguments() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      stack: { type: "string" },
      state: { type: "string" },
      "config-file": { type: "string" },
      mc: { type: "string", default: process.env["GEOCROP_MC"] ?? "mc" },
      outputs: { type: "string" },
      cwd: { type: "string", default: "." },
      json: { type: "boolean", default: false },
    },
  });
  const [command, ...rest] = positionals;
  if (command !== "up" && command !== "preview" && command !== "destroy") {
    throw new Error('name what to do: "up", "preview" or "destroy"');
  }
  const mode: Mode = command;
  const { stack, state } = values;
  if (stack === undefined || state === undefined) throw new Error("--stack and --state must be given");
  if (rest.length > 0) throw new Error(`"${rest.join(" ")}" is too much: options begin with --`);
  return { ...values, mode, stack, state, configFile: values["config-file"] };
}

/** @returns the exit code: 0 done, 1 failed, 130 interrupted */
async function main(): Promise<number> {
  let options: ReturnType<typeof readArguments>;
  try {
    options = readArguments();
  } catch (error) {
    console.error(`${describe(error)}\n\n${usage}`);
    return 1;
  }
  const { mode, stack } = options;
  const redactor = new Redactor();
  const report = new Report(options.json, mode, redactor);
  const stop = new AbortController();
  const interrupt = (): void => {
    if (stop.signal.aborted) process.exit(130);
    report.say("note", "Stopping after what is under way (press again to stop at once) ...");
    stop.abort();
  };
  process.on("SIGINT", interrupt);
  process.on("SIGTERM", interrupt);
  report.say("notice", notice);
  try {
    // Paths are the caller's; the program's own are relative to its folder, as under the CLI.
    const statePath = resolve(options.state);
    const outputsPath = options.outputs === undefined ? undefined : resolve(options.outputs);
    const configPath = resolve(options.configFile ?? join(options.cwd, `Pulumi.${stack}.yaml`));
    const mc = options.mc.includes("/") ? resolve(options.mc) : options.mc;
    process.chdir(options.cwd);
    const { name: project, program } = readProject(process.cwd());
    const config = readStackConfig(configPath, project);
    const minio = new MinioObjects(mc, `${statePath}.mc`);
    const release = lockState(statePath);
    process.on("exit", () => {
      minio.close();
      release();
    });
    const state = State.open(statePath, stack);
    const outputs = await deploy({
      mode,
      project,
      stack,
      config,
      program: () => import(pathToFileURL(program).href),
      state,
      handlers: { kubernetes: new KubernetesObjects(), minio, random: randomValues(), tls: tlsValues() },
      redactor,
      report: (step) => report.step(step),
      note: (text) => report.say("note", text),
      signal: stop.signal,
    });
    report.summary(outputs);
    if (mode === "up" && outputsPath !== undefined) {
      writeFileSync(outputsPath, `${JSON.stringify(mask(outputs), undefined, 2)}\n`, { mode: 0o600 });
    }
    return 0;
  } catch (error) {
    if (error instanceof Stopped) {
      report.say("error", `Interrupted. What was done is recorded: run "${mode}" again to carry on.`);
      return 130;
    }
    report.say("error", describe(error));
    return 1;
  }
}

process.exit(await main());
