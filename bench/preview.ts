/**
 * A `pulumi preview` of the dev stack that changes nothing, against two empty programs, in turn: one that runs as
 * ours does, and one in Pulumi's own TypeScript mode, as `pulumi new` makes it. `npm run bench:preview` needs a Pulumi
 * CLI with its plugins on PATH and the sandbox running.
 */
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { cliPlace, cliStack, command, findCli, layout, pulumi } from "../test/e2e/engines.ts";

const rounds = 7;

const cli = await findCli();
if ("missing" in cli) {
  process.stderr.write(`There is nothing to measure: ${cli.missing}.\n`);
  process.exit(1);
}
const binary = cli.command;

/** Makes an empty project with a stack, and hands back how to preview it. */
async function emptyProject(name: string, runtime: string, packageFields: object) {
  const folder = join(layout.data, "bench", name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, "state"), { recursive: true });
  symlinkSync(join(layout.project, "node_modules"), join(folder, "node_modules"));
  const manifest = { name, main: "index.ts", devDependencies: { typescript: "6" }, ...packageFields };
  writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
  writeFileSync(
    join(folder, "tsconfig.json"),
    '{"compilerOptions":{"strict":true,"target":"es2020","module":"commonjs","moduleResolution":"node10","ignoreDeprecations":"6.0","types":["node"]},"files":["index.ts"]}',
  );
  writeFileSync(join(folder, "index.ts"), 'import * as pulumi from "@pulumi/pulumi";\nvoid pulumi;\n');
  writeFileSync(join(folder, "Pulumi.yaml"), `name: ${name}\nruntime:\n  name: nodejs\n${runtime}`);
  const environment = {
    PULUMI_BACKEND_URL: `file://${join(folder, "state")}`,
    PULUMI_CONFIG_PASSPHRASE: "empty",
    PULUMI_SKIP_UPDATE_CHECK: "1",
  };
  const run = (...args: string[]) =>
    command(binary, [...args, "--non-interactive"], environment, folder).done;
  await run("stack", "select", "--create", "dev");
  await run("up", "--yes", "--skip-preview");
  return () => run("preview", "--expect-no-changes");
}

const stripped = await emptyProject("empty-stripped", "  options: { typescript: false }\n", {
  type: "module",
});
const compiled = await emptyProject("empty-compiled", "  options: { typescript: true }\n", {});

const stack = cliStack(binary);
await stack.up();

async function timed(run: () => Promise<{ code: number | null; output: string }>): Promise<number> {
  const began = performance.now();
  const { code, output } = await run();
  if (code !== 0) throw new Error(output);
  return performance.now() - began;
}

const ratios: { stripped: number; compiled: number }[] = [];
process.stdout.write(
  "| round | empty, types stripped by Node | empty, Pulumi's TypeScript mode | dev stack | ratios |\n| --- | --- | --- | --- | --- |\n",
);
const file = join(cliPlace.folder, "Pulumi.dev.yaml");
const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(2)} s`;
for (let round = 0; round <= rounds; round += 1) {
  const noTypes = await timed(stripped);
  const typed = await timed(compiled);
  const dev = await timed(() => pulumi(binary, ["preview", "--expect-no-changes"], file).done);
  // The first round warms the file cache.
  if (round === 0) continue;
  const ratio = { stripped: dev / noTypes, compiled: dev / typed };
  ratios.push(ratio);
  process.stdout.write(
    `| ${round} | ${seconds(noTypes)} | ${seconds(typed)} | ${seconds(dev)} | ${ratio.stripped.toFixed(2)}, ${ratio.compiled.toFixed(2)} |\n`,
  );
}
const median = (values: number[]): string =>
  (values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN).toFixed(2);
process.stdout.write(
  `\nmedian ratios: ${median(ratios.map((ratio) => ratio.stripped))} to an empty program run as ours, ${median(ratios.map((ratio) => ratio.compiled))} to one in Pulumi's TypeScript mode (bound 1.3)\n`,
);
await stack.destroy();
rmSync(join(layout.data, "bench"), { recursive: true, force: true });
process.exit(0);
