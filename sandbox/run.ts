import { spawn } from "node:child_process";
import { mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";

/** How a command is run. */
export interface RunOptions {
  /** @default the caller's */
  readonly cwd?: string;
  /** Added to the caller's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Fed to the command's standard input. @default nothing */
  readonly input?: string;
  /** A file that takes both outputs; it is written anew. @default none: the output is returned only */
  readonly logFile?: string;
  /** Called with each line of output, as it comes. */
  readonly onLine?: (line: string) => void;
  /**
   * Let the command end by itself even when interrupted; the interruption is raised afterwards. For what must not
   * be cut in the middle, such as dpkg.
   * @default false
   */
  readonly uninterruptible?: boolean;
}

/** What a command said. */
export interface RunResult {
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end. Throws a {@link CommandError} when it can't be started or fails. */
export type Run = (command: string, args: readonly string[], options?: RunOptions) => Promise<RunResult>;

const tailLines = 25;
const keptCharacters = 4 * 1024 * 1024;
const graceMilliseconds = 8_000;

/** A command that could not be started or did not succeed. Its arguments are shown: never put a secret there. */
export class CommandError extends Error {
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;

  constructor(
    commandLine: string,
    reason: string,
    exitCode: number | undefined,
    output: RunResult,
    logFile?: string,
  ) {
    const tail = lastLines(`${output.stdout}\n${output.stderr}`, tailLines);
    const log = logFile === undefined ? "" : `\nThe whole log: ${logFile}`;
    super(`${commandLine}: ${reason}${tail === "" ? "" : `\n${tail}`}${log}`);
    this.name = "CommandError";
    this.exitCode = exitCode;
    this.stdout = output.stdout;
    this.stderr = output.stderr;
  }
}

/** The last lines of a text that have something on them. */
export function lastLines(text: string, count: number): string {
  return text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .slice(-count)
    .join("\n");
}

/**
 * Makes a {@link Run} that ends its children when `signal` is aborted. Each child leads a process group of its own: a
 * Ctrl-C in the terminal reaches this process alone, which then ends the child and whatever that started.
 */
export function runner(signal: AbortSignal): Run {
  return async (command, args, options = {}) => {
    const interruptible = options.uninterruptible !== true;
    if (interruptible) signal.throwIfAborted();
    const log = options.logFile === undefined ? undefined : await openLog(options.logFile);
    const output = { stdout: "", stderr: "" };
    const commandLine = [command, ...args].join(" ");
    try {
      const outcome = await new Promise<{ code: number | null; signal: NodeJS.Signals | null }>(
        (settle, fail) => {
          const child = spawn(command, [...args], {
            cwd: options.cwd,
            env: { ...process.env, ...options.env },
            stdio: ["pipe", "pipe", "pipe"],
            detached: true,
          });
          let killer: NodeJS.Timeout | undefined;
          const end = (): void => {
            killGroup(child.pid, "SIGTERM");
            killer = setTimeout(() => killGroup(child.pid, "SIGKILL"), graceMilliseconds);
          };
          if (interruptible) signal.addEventListener("abort", end, { once: true });
          for (const name of ["stdout", "stderr"] as const) {
            const feedLines = lineFeed(options.onLine);
            child[name].setEncoding("utf8").on("data", (text: string) => {
              output[name] = (output[name] + text).slice(-keptCharacters);
              log?.stream.write(text);
              feedLines(text);
            });
          }
          // A command that ends without reading its input is no fault.
          child.stdin.on("error", () => undefined);
          child.stdin.end(options.input ?? "");
          child.on("error", fail);
          child.on("close", (code, killedBy) => {
            clearTimeout(killer);
            signal.removeEventListener("abort", end);
            settle({ code, signal: killedBy });
          });
        },
      ).catch((error: unknown) => {
        throw new CommandError(commandLine, startFault(error), undefined, output, options.logFile);
      });
      signal.throwIfAborted();
      if (outcome.code !== 0) {
        const reason =
          outcome.code === null
            ? `ended by ${outcome.signal ?? "a signal"}`
            : `failed (exit code ${outcome.code})`;
        throw new CommandError(commandLine, reason, outcome.code ?? undefined, output, options.logFile);
      }
      return output;
    } finally {
      await log?.close();
    }
  };
}

function startFault(error: unknown): string {
  if (error instanceof Error && "code" in error && error.code === "ENOENT") return "no such command";
  return error instanceof Error ? error.message : String(error);
}

function killGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // It has ended by itself.
  }
}

/** Cuts a stream of text into lines, for a progress display that shows the latest. */
function lineFeed(onLine: ((line: string) => void) | undefined): (text: string) => void {
  let rest = "";
  return (text) => {
    if (onLine === undefined) return;
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line);
  };
}

async function openLog(path: string) {
  await mkdir(dirname(path), { recursive: true });
  const file = await open(path, "w", 0o600);
  const stream = file.createWriteStream();
  return {
    stream,
    close: () => new Promise<void>((done) => stream.end(() => done())),
  };
}
