import { execFileSync, spawn } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { parse, stringify } from "yaml";

const root = process.cwd();

/** The project's files, those that are not committed yet among them. */
function projectFiles(): string[] {
  const listed = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: root,
    encoding: "utf8",
  });
  return listed.split("\0").filter((file) => file !== "" && existsSync(join(root, file)));
}

/** A copy of the project, on its branch "main", to try changes on. */
export class PreviewRepo {
  readonly folder = realpathSync(mkdtempSync(join(tmpdir(), "geocrop-repo-")));

  constructor() {
    for (const file of projectFiles()) cpSync(join(root, file), join(this.folder, file));
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
    const file: { config: Record<string, unknown> } = parse(readFileSync(path, "utf8"));
    for (const [key, values] of Object.entries(change)) {
      const name = `geocrop-storage:${key}`;
      file.config[name] = typeof values === "string" ? values : merged(file.config[name], values);
    }
    writeFileSync(path, stringify(file));
  }

  write(file: string, text: string): void {
    writeFileSync(join(this.folder, file), text);
  }

  preview(...args: readonly string[]): Promise<Outcome> {
    return command(process.execPath, [join(root, "tools/preview/main.ts"), ...args], this.folder);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Settings by key; those with parts are merged. */
export type StackChange = Readonly<Record<string, string | Readonly<Record<string, unknown>>>>;

function merged(former: unknown, values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return typeof former === "object" && former !== null ? { ...former, ...values } : { ...values };
}

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
