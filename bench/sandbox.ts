/**
 * How long the sandbox takes, and what it holds: `npm run bench:sandbox [-- --from-nothing]`.
 *
 * `--from-nothing` deletes the sandbox's data and all that was built first, and Go's own caches with it.
 */
import { spawnSync } from "node:child_process";
import { cpus, totalmem } from "node:os";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { "from-nothing": { type: "boolean", default: false } } });

function sandbox(...args: string[]): string {
  const { status, stdout } = spawnSync(process.execPath, ["sandbox/main.ts", ...args], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    maxBuffer: 64 * 1024 * 1024,
  });
  if (status !== 0) throw new Error(`sandbox ${args.join(" ")} ended with exit code ${status}:\n${stdout}`);
  return stdout;
}

function seconds(work: () => void): number {
  const began = performance.now();
  work();
  return (performance.now() - began) / 1000;
}

function row(what: string, measured: string, bound: string): void {
  process.stdout.write(`| ${what} | ${measured} | ${bound} |\n`);
}

process.stdout.write(
  `${new Date().toISOString().slice(0, 10)}, ${cpus().length} cores, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, Node ${process.version}\n\n`,
);
row("what", "measured", "bound");
row("---", "---", "---");

if (values["from-nothing"]) {
  sandbox("down", "--purge", "--cache");
  for (const cache of ["-cache", "-modcache"]) spawnSync("go", ["clean", cache], { stdio: "inherit" });
  row(
    "from nothing to the downloaded file",
    `${(seconds(() => sandbox("up")) / 60).toFixed(1)} min`,
    "30 min",
  );
}

const unchanged = [1, 2, 3].map(() => seconds(() => sandbox("up")));
row("run again, nothing changed", unchanged.map((time) => `${time.toFixed(1)} s`).join(", "), "20 s");

const { memoryBytes }: { memoryBytes: number } = JSON.parse(sandbox("status", "--json"));
row("memory of the whole sandbox", `${(memoryBytes / 2 ** 30).toFixed(2)} GiB`, "4 GiB");

const restarts = [1, 2, 3].map(() => {
  sandbox("down");
  return seconds(() => sandbox("up"));
});
row("from stopped, caches warm", restarts.map((time) => `${time.toFixed(1)} s`).join(", "), "120 s");
