import { parseArgs } from "node:util";

/** What the command line asks for. */
export type Command =
  | {
      readonly name: "up";
      readonly keep: boolean;
      readonly json: boolean;
    }
  | { readonly name: "down"; readonly purge: boolean; readonly cache: boolean; readonly json: boolean }
  | { readonly name: "status" | "env"; readonly json: boolean }
  | {
      readonly name: "logs";
      readonly of: string | undefined;
      readonly follow: boolean;
      readonly lines: number;
    }
  | { readonly name: "help" };

/** The command line is wrong; the process exits with code 2. */
export class UsageError extends Error {
  constructor(message: string) {
    super(`${message}\nUsage: npm run sandbox -- --help`);
    this.name = "UsageError";
  }
}

export const help = `A real one-node Kubernetes on this machine, with the dev stack on it.

npm run sandbox                    start it, or continue; ends with a download through a signed URL
        -- --keep                  when a step fails, leave the node running
npm run sandbox -- status          what runs and what it uses; exit code 0 only when all is ready
npm run sandbox -- logs [NAME]     print a component's or a pod's log; without NAME: list the logs
        -- logs NAME --follow      keep printing; --lines N: how many lines to start with [50]
npm run sandbox -- env             shell exports: eval "$(npm run --silent sandbox -- env)"
npm run sandbox -- down            stop it and keep its data
        -- down --purge            also delete its data; with --cache also the builds

up, status, down and env take --json.
Folders: GEOCROP_SANDBOX_DATA [/var/lib/geocrop-sandbox], GEOCROP_SANDBOX_CACHE [/var/cache/geocrop-sandbox].
`;

const optionsOf = {
  up: ["keep", "json"],
  status: ["json"],
  down: ["purge", "cache", "json"],
  env: ["json"],
  logs: ["follow", "lines"],
} as const;

type CommandName = keyof typeof optionsOf;

/** Reads the command line. Throws a {@link UsageError} that names what is wrong. */
export function parseCommand(args: readonly string[]): Command {
  const { values, positionals } = parse(args);
  if (values.help === true) return { name: "help" };
  const [given = "up", ...rest] = positionals;
  if (!isCommandName(given)) throw new UsageError(`unknown command "${given}"`);
  const excess = given === "logs" ? rest.slice(1) : rest;
  if (excess.length > 0) throw new UsageError(`unexpected argument "${excess.join(" ")}"`);
  const allowed: readonly string[] = optionsOf[given];
  const unknown = Object.keys(values).filter((option) => !allowed.includes(option));
  if (unknown.length > 0) throw new UsageError(`"${given}" does not take --${unknown.join(", --")}`);

  const json = values.json === true;
  if (given === "up") return { name: "up", keep: values.keep === true, json };
  if (given === "down") {
    const purge = values.purge === true;
    const cache = values.cache === true;
    if (cache && !purge) throw new UsageError("--cache needs --purge");
    return { name: "down", purge, cache, json };
  }
  if (given === "logs") {
    return { name: "logs", of: rest[0], follow: values.follow === true, lines: linesOf(values.lines) };
  }
  return { name: given, json };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        help: { type: "boolean", short: "h" },
        json: { type: "boolean" },
        keep: { type: "boolean" },
        purge: { type: "boolean" },
        cache: { type: "boolean" },
        follow: { type: "boolean", short: "f" },
        lines: { type: "string", short: "n" },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function isCommandName(text: string): text is CommandName {
  return Object.hasOwn(optionsOf, text);
}

function linesOf(text: string | undefined): number {
  if (text === undefined) return 50;
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text);
  throw new UsageError(`--lines is "${text}": it must be a whole number from 1`);
}
