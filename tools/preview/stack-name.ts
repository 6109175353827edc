import { UsageError } from "../command-line.ts";

/** A stack's name as `--stack` gives it: it becomes part of a file's name. @throws UsageError when it cannot. */
export function stackName(text: string | undefined): string {
  if (text === undefined) throw new UsageError("name the stack: --stack dev or --stack prod");
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(text)) throw new UsageError(`"${text}" is not a valid stack name`);
  return text;
}
