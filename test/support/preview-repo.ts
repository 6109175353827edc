import { execFileSync, spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { parse, stringify } from "yaml";

const root = process.cwd();

/** What a program needs besides its dependencies. */
const programFiles = [
  "index.ts",
  "config.ts",
  "components",
  "Pulumi.yaml",
  "Pulumi.dev.yaml",
  "Pulumi.prod.yaml",
  "package.json",
  "package-lock.json",
];

/** A clone of nothing but the program, on its branch "main", to try changes on. */
export class PreviewRepo {
  readonly folder = realpathSync(mkdtempSync(join(tmpdir(), "geocrop-repo-")));

  constructor() {
    for (const file of programFiles) cpSync(join(root, file), join(this.folder, file), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(this.folder, "node_modules"));
    this.git("init", "--quiet", "--initial-branch=main");
    writeFileSync(join(this.folder, ".git/info/exclude"), "node_modules\n");
    this.commit("the base");
  }

  git(...args: readonly string[]): string {
    const identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"];
    return execFileSync("git", [...identity, ...args], { cwd: this.folder, encoding: "utf8" });
  }

  commit(message: string): void {
    this.git("add", "--all");
    this.git("commit", "--quiet", "--allow-empty", `--message=${message}`);
  }

  /** Starts a branch at the base. */
  branch(name: string): void {
    this.git("checkout", "--quiet", "-B", name, "main");
  }

  /** Replaces a text that must be there. */
  edit(file: string, before: string, after: string): void {
    const path = join(this.folder, file);
    const text = readFileSync(path, "utf8");
    if (!text.includes(before)) throw new Error(`${file} does not contain ${before}`);
    writeFileSync(path, text.replace(before, after));
  }

  /** Merges settings into a stack file, by key. */
  set(stack: string, change: StackChange): void {
    const path = join(this.folder, `Pulumi.${stack}.yaml`);
    const file: { config: Record<string, Record<string, unknown>> } = parse(readFileSync(path, "utf8"));
    for (const [key, values] of Object.entries(change)) {
      const name = `geocrop-storage:${key}`;
      file.config[name] = { ...file.config[name], ...values };
    }
    writeFileSync(path, stringify(file));
  }

  write(file: string, text: string): void {
    writeFileSync(join(this.folder, file), text);
  }

  preview(...args: readonly string[]): Promise<Outcome> {
    return command(process.execPath, [join(root, "preview/main.ts"), ...args], this.folder);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Settings by key. */
export type StackChange = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end. */
export function command(
  name: string,
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<Outcome> {
  const child = spawn(name, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}
