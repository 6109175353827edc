import { parseArgs } from "node:util";

import { Fault, messageOf } from "./faults.ts";

export const previewHelp = `What a change does to a stack, told without cluster, credentials, state, network or Pulumi CLI.

npm run preview -- --stack NAME    compares with where this branch left main
  --base REF                       compares with another revision
  --dirty                          takes the working tree as it is, uncommitted changes included
  --markdown | --json              for a pull request's comment; for programs
  --policy-config FILE             levels and settings of the policies, as Pulumi's --policy-pack-config

Exit code: 0 no change, 2 changes, 3 data at risk, 1 an error or a mandatory policy is broken.
`;

export interface PreviewCommand {
  readonly stack: string;
  readonly base: string | undefined;
  readonly dirty: boolean;
  readonly form: "text" | "markdown" | "json";
  readonly policyConfig: string | undefined;
}

/** @returns undefined when the help is asked for. @throws Fault when the command line is wrong. */
export function parsePreviewCommand(args: readonly string[]): PreviewCommand | undefined {
  const { values } = orFault(() =>
    parseArgs({
      args: [...args],
      options: {
        stack: { type: "string" },
        base: { type: "string" },
        dirty: { type: "boolean" },
        markdown: { type: "boolean" },
        json: { type: "boolean" },
        "policy-config": { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    }),
  );
  if (values.help === true) return undefined;
  if (values.markdown === true && values.json === true) {
    throw new Fault("--markdown and --json exclude one another");
  }
  return {
    stack: stackName(values.stack),
    base: values.base,
    dirty: values.dirty === true,
    form: values.markdown === true ? "markdown" : values.json === true ? "json" : "text",
    policyConfig: values["policy-config"],
  };
}

export const renderHelp = `The stack's objects as YAML, one file each: kubernetes/ for kubectl, minio/ to read. Secrets are placeholders.

npm run render -- --stack NAME --out DIR

DIR is made; if it is there, it must be empty or hold an earlier rendering, which is replaced.
`;

export interface RenderCommand {
  readonly stack: string;
  readonly out: string;
}

/** @returns undefined when the help is asked for. @throws Fault when the command line is wrong. */
export function parseRenderCommand(args: readonly string[]): RenderCommand | undefined {
  const { values } = orFault(() =>
    parseArgs({
      args: [...args],
      options: {
        stack: { type: "string" },
        out: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    }),
  );
  if (values.help === true) return undefined;
  if (values.out === undefined || values.out === "")
    throw new Fault("name the folder to write to: --out DIR");
  return { stack: stackName(values.stack), out: values.out };
}

/** The parser's own faults are the user's. */
function orFault<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new Fault(messageOf(error));
  }
}

/** It becomes part of a file's name. */
function stackName(text: string | undefined): string {
  if (text === undefined) throw new Fault("name the stack: --stack dev or --stack prod");
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(text)) throw new Fault(`"${text}" is no stack's name`);
  return text;
}
