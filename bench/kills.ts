/**
 * Kills `up` at random moments and continues by a plain `up`: first deployments, and changes of a running stack.
 * `npm run bench:kills [-- --first 20 --second 20]` needs the sandbox running and takes about 100 s for each kill of a
 * first `up`, 40 s for each of a second one. A lock that a killed process left is removed first, as `pulumi cancel` does.
 */
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { removeNamespaces } from "../test/e2e/live.ts";
import { layout, type Place, type Settings, stackAt } from "../test/e2e/stacks.ts";

const { values } = parseArgs({
  options: { first: { type: "string", default: "20" }, second: { type: "string", default: "20" } },
});

const place: Place = {
  namespace: "geocrop-bench-kills",
  folder: join(layout.data, "bench-kills"),
  apiPort: 30513,
  downloadPort: 30514,
  tunnelPort: 19031,
};
const stack = stackAt(place);
const write = (text: string): void => void process.stdout.write(`${text}\n`);

/** Plugins of Pulumi whose engine is gone. */
async function leftOverPlugins(): Promise<number> {
  let count = 0;
  for (const pid of await readdir("/proc")) {
    const [status, commandLine] = await Promise.all(
      ["status", "cmdline"].map((file) => readFile(`/proc/${pid}/${file}`, "utf8").catch(() => "")),
    );
    if (commandLine?.includes("pulumi-resource-") === true && /^PPid:\t1$/m.test(status ?? "")) count += 1;
  }
  return count;
}

/** How `up` ends: undefined when all is well, else its last error. */
async function problemOf(
  running: Promise<{ code: number | null; output: string }>,
): Promise<string | undefined> {
  const { code, output } = await running;
  if (code === 0) return undefined;
  return (/error: .*/.exec(output)?.[0] ?? output.slice(-200)).slice(0, 200);
}

let failures = 0;

async function killAndContinue(label: string, within: number, change?: Settings): Promise<void> {
  const moment = Math.round(Math.random() * within);
  const interrupted = await stack.start("up", change);
  await sleep(moment);
  try {
    interrupted.kill();
  } catch {
    // It had come to its end.
  }
  await interrupted.done;
  const began = Date.now();
  const problem = await problemOf((await stack.start("up", change)).done);
  const changes = problem === undefined ? await stack.preview(change) : {};
  const isConverged = problem === undefined && Object.keys(changes).every((name) => name === "same");
  if (!isConverged) failures += 1;
  const outcome = problem ?? (isConverged ? "converged" : JSON.stringify(changes));
  write(
    `| ${label} | ${(moment / 1000).toFixed(1)} s | ${outcome} | ${((Date.now() - began) / 1000).toFixed(0)} s | ${String(await leftOverPlugins())} |`,
  );
}

async function startAfresh(): Promise<void> {
  await removeNamespaces(place.namespace);
  await rm(place.folder, { recursive: true, force: true });
}

write("| `up` | killed after | next `up` | took | plugins left over |\n| --- | --- | --- | --- | --- |");
for (let number = 0; number < Number(values.first); number += 1) {
  await startAfresh();
  await killAndContinue("first", 30_000);
}
if (Number(values.first) === 0) {
  await startAfresh();
  await stack.up();
}
for (let number = 0; number < Number(values.second); number += 1) {
  await killAndContinue("second: keys rotated", 20_000, { credentials: { generation: number + 2 } });
}
await startAfresh();
write(`\n${String(failures)} did not converge by the next \`up\``);
process.exit(failures === 0 ? 0 : 1);
