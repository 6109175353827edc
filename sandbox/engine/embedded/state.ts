import {
  closeSync,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, resolve } from "node:path";

import { z } from "zod";

const recordSchema = z.strictObject({
  type: z.string(),
  name: z.string(),
  /** The provider's own name of the object, e.g. namespace/name or the bucket. */
  id: z.string(),
  /** Hash of the inputs; absent while the resource is being made, so that a killed run's leavings are known. */
  hash: z.string().optional(),
  /** What it takes to delete the object: never a secret. */
  target: z.record(z.string(), z.json()).optional(),
  /** Values made by this deployer (passwords, keys, certificates), secret or not. */
  generated: z.record(z.string(), z.json()).optional(),
  /** Key of the provider resource that made it. */
  provider: z.string().optional(),
  /** Pulumi's `protect` and `retainOnDelete`. */
  protect: z.boolean().optional(),
  retain: z.boolean().optional(),
});

const fileSchema = z.strictObject({
  version: z.literal(1),
  stack: z.string(),
  /** In the order in which they were completed; deletion goes backwards. */
  records: z.array(z.tuple([z.string(), recordSchema])),
});

export type Recorded = z.infer<typeof recordSchema>;

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

/**
 * What the deployer made and declared, in one file that only its owner can read. Every change is on the disk
 * before the next step, whole or not at all: a run that is killed loses nothing.
 */
export class State {
  readonly path: string;
  readonly #stack: string;
  readonly #records: Map<string, Recorded>;

  private constructor(path: string, stack: string, records: Map<string, Recorded>) {
    this.path = path;
    this.#stack = stack;
    this.#records = records;
  }

  /** @throws when the file is damaged or another stack's; the message says what to do. */
  static open(file: string, stack: string): State {
    const path = resolve(file);
    let text: string;
    try {
      text = readFileSync(path, "utf8");
    } catch (error) {
      if (isCode(error, "ENOENT")) return new State(path, stack, new Map());
      throw error;
    }
    const damaged = (why: string): Error =>
      new Error(
        `the state file ${path} is damaged (${why}). Put a copy back, or, if all that it holds may be lost ` +
          `(generated passwords and keys, and the list of what to delete), remove it.`,
      );
    let content: unknown;
    try {
      content = JSON.parse(text);
    } catch {
      throw damaged("it is not JSON");
    }
    const parsed = fileSchema.safeParse(content);
    if (!parsed.success) throw damaged(`at ${parsed.error.issues[0]?.path.join(".") ?? "its root"}`);
    if (parsed.data.stack !== stack) {
      throw new Error(
        `the state file ${path} belongs to the stack "${parsed.data.stack}", not "${stack}": name another file`,
      );
    }
    return new State(path, stack, new Map(parsed.data.records));
  }

  get(key: string): Recorded | undefined {
    return this.#records.get(key);
  }

  /** Oldest first. */
  entries(): [string, Recorded][] {
    return [...this.#records];
  }

  put(key: string, record: Recorded): void {
    const before = this.#records.get(key);
    if (before !== undefined && JSON.stringify(before) === JSON.stringify(record)) return;
    this.#records.set(key, record);
    this.#save();
  }

  /** Keeps the record of an object that its resource has left behind for another one, until it is deleted. */
  retire(key: string): void {
    const record = this.#records.get(key);
    if (record === undefined) return;
    this.#records.delete(key);
    this.#records.set(`${key} (was ${record.id})`, record);
    this.#save();
  }

  remove(key: string): void {
    if (this.#records.delete(key)) this.#save();
  }

  /** After a run that got through: the given keys, in this order, come after all others. */
  reorder(keys: Iterable<string>): void {
    const before = [...this.#records.keys()].join("\n");
    for (const key of keys) {
      const record = this.#records.get(key);
      if (record === undefined) continue;
      this.#records.delete(key);
      this.#records.set(key, record);
    }
    if ([...this.#records.keys()].join("\n") !== before) this.#save();
  }

  #save(): void {
    const directory = dirname(this.path);
    const draft = `${this.path}.tmp`;
    const content = { version: 1, stack: this.#stack, records: this.entries() };
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const file = openSync(draft, "w", 0o600);
    try {
      fchmodSync(file, 0o600); // a draft that a killed run left keeps its old mode otherwise
      writeFileSync(file, `${JSON.stringify(content, undefined, 2)}\n`);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(draft, this.path);
    const parent = openSync(directory, "r");
    try {
      fsyncSync(parent); // the rename itself must survive, too
    } finally {
      closeSync(parent);
    }
  }
}

/** A process and its start, for numbers are used again; undefined when it has ended. */
function processIdentity(pid: string): string | undefined {
  try {
    // After the command in parentheses: the state, and as 20th the time of the start (proc_pid_stat(5)).
    const [state, ...rest] = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    return state === "Z" ? undefined : `${pid} ${rest[18] ?? ""}`;
  } catch {
    return undefined;
  }
}

/**
 * Keeps a second deployer off the same state file. The lock of a killed run is taken over.
 *
 * @returns what releases the lock
 */
export function lockState(file: string): () => void {
  const path = `${resolve(file)}.lock`;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  for (;;) {
    try {
      writeFileSync(path, processIdentity(String(process.pid)) ?? "", { flag: "wx", mode: 0o600 });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if (!isCode(error, "EEXIST")) throw error;
      const owner = readFileSync(path, "utf8");
      const [pid = ""] = owner.split(" ");
      if (pid !== "" && processIdentity(pid) === owner) {
        throw new Error(`another deployer (process ${pid}) works on this state: wait for it, or stop it`, {
          cause: error,
        });
      }
      rmSync(path, { force: true });
    }
  }
}
