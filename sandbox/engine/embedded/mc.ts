import { spawn } from "node:child_process";
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";

import { z } from "zod";

/** Under this name mc knows the server; it stands for one process only. */
export const alias = "geocrop";

export interface Connection {
  /** host:port */
  readonly server: string;
  readonly ssl: boolean;
  readonly user: string;
  readonly password: string;
  /** Path of the authority's certificate. */
  readonly caFile?: string | undefined;
}

const failureSchema = z.looseObject({
  status: z.literal("error"),
  error: z.looseObject({
    message: z.string(),
    cause: z.looseObject({ message: z.string() }).optional(),
  }),
});

/** A server that has just become ready may still turn a call away, and a tunnel may take a moment to stand. */
const transient =
  /connection (?:refused|reset)|EOF|not initialized|timeout|try again|HTTP response to HTTPS/i;
const attempts = 15;
const atOnce = 3; // each is a process with a start-up of its own
const second = 1000;

/** mc prints one JSON document after the other, over one line or several. */
export function parseDocuments(output: string): unknown[] {
  const list: unknown = JSON.parse(`[${output.trim().replaceAll(/\}\s*\n\s*\{/g, "},{")}]`);
  return z.array(z.unknown()).parse(list);
}

/**
 * MinIO's own client, against one server. Credentials reach it by its environment and its input, never by its
 * arguments, which everybody on the machine can read.
 */
export class Mc {
  readonly #binary: string;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #directory: string;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  /** @param directory for mc's own files; it is emptied first, and holds no secrets */
  constructor(binary: string, directory: string, { server, ssl, user, password, caFile }: Connection) {
    if (/[:@/]/.test(user) || password.includes(":")) {
      throw new Error("mc can't take a MinIO user with any of :@/ in it, or a password with a colon");
    }
    this.#binary = binary;
    this.#directory = directory;
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(join(directory, "certs", "CAs"), { recursive: true, mode: 0o700 });
    if (caFile !== undefined) copyFileSync(caFile, join(this.#directory, "certs", "CAs", "ca.crt"));
    writeFileSync(join(this.#directory, "config.json"), '{"version":"10","aliases":{}}', { mode: 0o600 });
    this.#environment = {
      HOME: this.#directory,
      MC_CONFIG_DIR: this.#directory,
      [`MC_HOST_${alias}`]: `${ssl ? "https" : "http"}://${user}:${password}@${server}`,
    };
  }

  /**
   * @returns the documents that mc printed
   * @throws with mc's own words
   */
  async run(args: readonly string[], input = ""): Promise<unknown[]> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#inTurn(() => this.#once(args, input));
      } catch (error) {
        if (attempt === attempts || !(error instanceof Error) || !transient.test(error.message)) throw error;
        await new Promise((resolve) => {
          setTimeout(resolve, second);
        });
      }
    }
  }

  /** Hands a file's content to mc where it takes nothing but a path. */
  async runWithFile(args: (path: string) => readonly string[], name: string, content: string): Promise<void> {
    const path = join(this.#directory, encodeURIComponent(name));
    writeFileSync(path, content, { mode: 0o600 });
    await this.run(args(path));
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= atOnce) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push(resolve);
      await promise;
    } else this.#running += 1;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }

  async #once(args: readonly string[], input: string): Promise<unknown[]> {
    const child = spawn(this.#binary, ["--json", ...args], { env: this.#environment });
    const exit = Promise.withResolvers<number | null>();
    child.on("error", (error) => {
      exit.reject(new Error(`can't run MinIO's client at ${this.#binary} (${error.message}): see --mc`));
    });
    child.on("close", exit.resolve);
    child.stdin.on("error", () => undefined); // it may end without reading
    child.stdin.end(input);
    const [code, output, errors] = await Promise.all([exit.promise, text(child.stdout), text(child.stderr)]);
    const documents = output.trim() === "" ? [] : parseDocuments(output);
    const failed = documents.map((one) => failureSchema.safeParse(one).data?.error).find(Boolean);
    if (failed !== undefined) {
      throw new Error([failed.message, failed.cause?.message].filter(Boolean).join(" "));
    }
    if (code !== 0)
      throw new Error(`mc ${args.slice(0, 3).join(" ")} ended with ${code ?? "a signal"}: ${errors}`);
    return documents;
  }
}
