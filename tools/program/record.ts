import { fork } from "node:child_process";
import { join } from "node:path";

import { UserError } from "../command-line.ts";
import { answerSchema, type Order, type Recording } from "./recording.ts";

/** Milliseconds after which a program is taken to hang. */
const patience = 60_000;

/** The child's environment: no credential, and nothing that leads to a cluster or a server. */
const harmless = ["PATH", "LANG", "TMPDIR", "NODE_COMPILE_CACHE"];

/** The child may read. It may not write, start processes or threads, or load native code. */
const readOnly = ["--permission", "--allow-fs-read=*", "--no-warnings"];

/**
 * Runs a program to see what it declares, in a process of its own. What it prints goes to our standard error.
 *
 * @param folder the revision's; its dependencies are there.
 * @throws UserError when the program fails.
 */
export function recordProgram(folder: string, order: Order): Promise<Recording> {
  const environment = harmless.map((name) => [name, process.env[name]]);
  const child = fork(join(import.meta.dirname, "recorder.ts"), {
    cwd: folder,
    env: Object.fromEntries(environment.filter(([, value]) => value !== undefined)),
    execArgv: readOnly,
    stdio: ["ignore", process.stderr, process.stderr, "ipc"],
    timeout: patience,
    killSignal: "SIGKILL",
  });
  return new Promise<Recording>((resolve, reject) => {
    child.on("message", (message) => {
      const answer = answerSchema.parse(message);
      if ("fault" in answer) reject(new UserError(answer.fault));
      else resolve(answer.recording);
    });
    child.on("error", reject);
    child.on("exit", (code, signal) => {
      const how =
        signal === "SIGKILL" ? `did not end within ${patience / 1000} s` : `ended early (${code ?? signal})`;
      reject(new UserError(`the program ${how} without having declared everything`));
    });
    child.send(order);
  });
}
