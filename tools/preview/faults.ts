/** What the user can mend: told as it is, without a stack. */
export class Fault extends Error {
  override readonly name = "Fault";
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
