/** `npm run sandbox`: a real one-node Kubernetes on this machine, with the dev stack on it. See arguments.ts for its use. */
import { existsSync } from "node:fs";
import { type Command, UsageError, help, parseCommand } from "./arguments.ts";
import { stackEnvironment } from "./engine/deploy.ts";
import { down } from "./down.ts";
import { InterruptedError, interruption } from "./interruption.ts";
import { type Layout, layoutOf } from "./layout.ts";
import { withLock } from "./lock.ts";
import { NoSuchLogError, chooseLogs, logFiles, printLogs } from "./logs.ts";
import { progressOn } from "./progress.ts";
import { describe, readSandbox } from "./status.ts";
import { urls } from "./engine/stack-file.ts";

const print = (text: string): void => void process.stdout.write(`${text}\n`);
const printJson = (value: unknown): void => print(JSON.stringify(value, undefined, 2));

/** Does what the command line asks. Returns the exit code. */
async function main(command: Command, layout: Layout, signal: AbortSignal): Promise<number> {
  // `up` tells this together with all else that is in the way.
  if (command.name !== "help" && command.name !== "up" && process.getuid?.() !== 0) {
    throw new UsageError(`"${command.name}" must be run as root`);
  }
  if (command.name === "up") {
    // Loaded only here: it brings in the whole stack's tools, which the others do without.
    const { stepCount, up } = await import("./up.ts");
    const progress = progressOn(command.json ? process.stderr : process.stdout, stepCount);
    await up(layout, command, progress, signal);
    if (command.json) printJson(stackEnvironment(layout));
    else print(nextSteps);
  } else if (command.name === "down") {
    const progress = progressOn(command.json ? process.stderr : process.stdout, command.purge ? 2 : 1);
    const report = await withLock(layout.lock, (recordActivity) => {
      progress.onActivity(recordActivity);
      return down(layout, command, progress);
    });
    if (command.json) printJson(report);
  } else if (command.name === "status") {
    const status = await readSandbox(layout);
    if (command.json) printJson(status);
    else print(describe(status, new Date()));
    return status.ready ? 0 : 1;
  } else if (command.name === "env") {
    if (!existsSync(layout.kubeconfig))
      throw new UsageError("there is no sandbox yet; start it: npm run sandbox");
    const environment = stackEnvironment(layout);
    if (command.json) printJson(environment);
    else for (const [name, value] of Object.entries(environment)) print(`export ${name}=${quote(value)}`);
  } else if (command.name === "logs") {
    const files = await logFiles(layout);
    if (command.of === undefined) print(files.map(({ name }) => name).join("\n"));
    else await printLogs(chooseLogs(files, command.of), command, signal);
  } else {
    print(help.trimEnd());
  }
  return 0;
}

const nextSteps = `
  API             ${urls.api}
  downloads       ${urls.downloads}

Try next:
  eval "$(npm run --silent sandbox -- env)"
  npm run job -- submit --owner alice --job job-124 result.tif
  npm run --silent token -- --sub alice | sed 's/^/Authorization: Bearer /' |
    curl --cacert "$GEOCROP_CA_FILE" -H @- "$GEOCROP_API_URL/api/v1/results/job-123/download"
  npm run sandbox -- status
  npm run sandbox -- down`;

/** For a POSIX shell. */
function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** An error says in its message all that a user needs; a bug in this program shows its stack trace. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isBug = error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError;
  return isBug ? (error.stack ?? error.message) : error.message;
}

const signal = interruption();
try {
  process.exitCode = await main(parseCommand(process.argv.slice(2)), layoutOf(), signal);
} catch (error) {
  if (signal.reason instanceof InterruptedError) {
    process.stderr.write("\nInterrupted; what this run had started is undone. The next run continues.\n");
    process.exitCode = signal.reason.exitCode;
  } else {
    process.stderr.write(`\n${messageOf(error)}\n`);
    process.exitCode = error instanceof UsageError || error instanceof NoSuchLogError ? 2 : 1;
  }
}
