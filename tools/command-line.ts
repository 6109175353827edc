import { basename } from "node:path";
import { parseArgs, type ParseArgsConfig } from "node:util";

/** What the user can mend: its message says all there is to know. */
export class UserError extends Error {
  override readonly name: string = "UserError";
}

/** The command line is wrong. The command ends with exit code 2. */
export class UsageError extends UserError {
  override readonly name = "UsageError";
}

type Options = NonNullable<ParseArgsConfig["options"]>;
type Parsed<T extends Options> = ReturnType<
  typeof parseArgs<{ args: string[]; options: T; allowPositionals: true; strict: true }>
>;

export interface Command<T extends Options> {
  /** As it is called: `npm run NAME`. */
  readonly name: string;
  /** What `--help` prints. */
  readonly usage: string;
  /** As node:util's parseArgs takes them, without `help`. */
  readonly options: T;
  /** How many arguments it takes that are no options. @default none */
  readonly positionals?: { readonly least: number; readonly most: number };
  /** Does the work. @returns the exit code. */
  run(values: Parsed<T>["values"], positionals: readonly string[]): Promise<number>;
}

/**
 * Runs a command on the process's arguments and sets the exit code: what the work returns, 2 when the command line is
 * wrong, 1 for every other error, which is told in one line. `--help` and `-h` print the usage and do nothing.
 */
export async function runCommand<T extends Options>(command: Command<T>): Promise<void> {
  try {
    const args = process.argv.slice(2);
    if (asksForHelp(args)) {
      process.stdout.write(`${command.usage.trimEnd()}\n`);
      return;
    }
    const { values, positionals } = parse(command, args);
    process.exitCode = await command.run(values, positionals);
  } catch (error) {
    process.stderr.write(`${command.name}: ${messageOf(error)}\n`);
    if (error instanceof UsageError)
      process.stderr.write(`"npm run ${command.name} -- --help" shows how it is used.\n`);
    else if (isDebugging() && error instanceof Error) process.stderr.write(`${error.stack ?? ""}\n`);
    process.exitCode = error instanceof UsageError ? 2 : 1;
  }
}

function asksForHelp(args: readonly string[]): boolean {
  const end = args.indexOf("--");
  return args.slice(0, end === -1 ? undefined : end).some((arg) => arg === "--help" || arg === "-h");
}

function parse<T extends Options>(command: Command<T>, args: string[]): Parsed<T> {
  const { least, most } = command.positionals ?? { least: 0, most: 0 };
  const parsed = orUsageError(() =>
    parseArgs({ args, options: command.options, allowPositionals: true, strict: true }),
  );
  const { positionals } = parsed;
  const excess = positionals.slice(most);
  if (excess.length > 0) throw new UsageError(`unexpected argument ${excess.map(quoted).join(", ")}`);
  if (positionals.length < least) throw new UsageError("an argument is missing");
  return parsed;
}

const quoted = (text: string): string => `"${text}"`;

/** The parser's hint, which follows the first sentence, is for arguments that begin with a "-": there are none here. */
function orUsageError<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new UsageError(messageOf(error).replace(/\. To specify[^]*$/, ""));
  }
}

/** An option that must be given. @throws UsageError when it is not. */
export function required(value: string | undefined, what: string): string {
  if (value === undefined || value === "") throw new UsageError(`${what} is missing`);
  return value;
}

const isDebugging = (): boolean => Boolean(process.env["GEOCROP_DEBUG"]);

/** Whatever was thrown, in words. Of an error in this program, GEOCROP_DEBUG=1 shows where it is. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return fileMessage(error) ?? apiMessage(error) ?? causeMessage(error);
}

/** What the system's codes mean, for errors that name a path. */
const fileCodes: Readonly<Record<string, string>> = {
  ENOENT: "does not exist",
  EACCES: "may not be read or written by this user",
  EPERM: "may not be read or written by this user",
  EISDIR: "is a folder, not a file",
  ENOTDIR: "is not a folder",
};

function fileMessage(error: Error): string | undefined {
  if (!("code" in error) || !("path" in error)) return undefined;
  const meaning = fileCodes[String(error.code)];
  if (meaning === undefined) return undefined;
  // For a program that could not be started, the path is its name.
  const isProgram = "syscall" in error && String(error.syscall).startsWith("spawn");
  return isProgram ? `${basename(String(error.path))} is not installed` : `${String(error.path)} ${meaning}`;
}

/** The Kubernetes client's errors hold headers and more in their message: what the server says of itself is in the body. */
function apiMessage(error: Error): string | undefined {
  if (!("body" in error) || !("code" in error) || typeof error.code !== "number") return undefined;
  const message = /"message":"((?:[^"\\]|\\.)*)"/.exec(String(error.body))?.[1];
  return `the Kubernetes API answers ${error.code}${message === undefined ? "" : `: ${message}`}`;
}

/** `fetch failed` says nothing of itself. */
function causeMessage({ message, cause }: Error): string {
  return cause instanceof Error && !message.includes(cause.message)
    ? `${message}: ${cause.message}`
    : message;
}
