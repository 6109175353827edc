import { z } from "zod";

import { readLine, verifyChain } from "../../services/audit-receiver/chain.ts";
import type { Target } from "./target.ts";

const eventSchema = z.looseObject({
  accessKey: z.string().default(""),
  requestID: z.string().default(""),
  api: z.looseObject({ name: z.string().default("") }).prefault({}),
});
export type AuditEvent = z.infer<typeof eventSchema>;

/** How much of the trail's end is read: a live check, not an archive's. */
const newestBytes = 4 * 1024 * 1024;

/** Prints the end of the trail, oldest first, as far back as the bound lets it. */
const tail = `
const fs = require("node:fs");
const [dir, bound] = process.argv.slice(1);
const stems = fs.readdirSync(dir).flatMap((name) => /^(audit-.*)\\.ndjson$/.exec(name)?.[1] ?? []);
const names = stems.sort().reverse().map((stem) => stem + ".ndjson");
let left = Number(bound);
const parts = [];
for (const name of names) {
  if (left <= 0) break;
  const file = fs.openSync(dir + "/" + name, "r");
  const { size } = fs.fstatSync(file);
  const part = Buffer.alloc(Math.min(size, left));
  fs.readSync(file, part, 0, part.length, size - part.length);
  parts.unshift(part);
  left -= part.length;
}
process.stdout.write(Buffer.concat(parts));
`;

export interface Trail {
  readonly events: readonly AuditEvent[];
  /** As they stand in the receiver's file. */
  readonly lines: readonly string[];
}

/** The newest part of the audit trail, out of the receiver's own files. */
export async function readTrail(target: Target): Promise<Trail> {
  const { name, container } = await target.podOf("audit-receiver");
  const directory =
    container?.env?.find((variable) => variable.name === "DATA_DIR")?.value ?? "/var/lib/audit";
  const text = await target.execute(target.namespace, name, "audit-receiver", [
    "node",
    "-e",
    tail,
    directory,
    String(newestBytes),
  ]);
  const lines = text.split("\n");
  // The first may lack its beginning, the last is under way.
  const whole = lines.slice(text.length < newestBytes ? 0 : 1, -1);
  return {
    lines: whole,
    events: whole.flatMap((line) => {
      const read = readLine(line);
      const event = eventSchema.safeParse(read === undefined ? undefined : JSON.parse(read.event));
      return event.success ? [event.data] : [];
    }),
  };
}

/** @throws Error saying where the chain breaks. */
export function checkChain({ lines }: Trail): void {
  const [first, ...rest] = lines;
  if (first === undefined) throw new Error("the audit trail is empty");
  const read = readLine(first);
  if (read === undefined) throw new Error("the first entry read was altered or is no entry");
  verifyChain(rest, read.entry);
}
