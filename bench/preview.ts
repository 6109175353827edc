/**
 * A `pulumi preview` of the dev stack that changes nothing, against one of an empty program, in turn:
 * `npm run bench:preview`. Needs a Pulumi CLI with its plugins on PATH and the sandbox running.
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

const empty = join(layout.data, "bench-empty");
rmSync(empty, { recursive: true, force: true });
mkdirSync(join(empty, "state"), { recursive: true });
symlinkSync(join(layout.project, "node_modules"), join(empty, "node_modules"));
writeFileSync(join(empty, "package.json"), '{"name":"empty","type":"module","main":"index.ts"}');
writeFileSync(join(empty, "index.ts"), 'import "@pulumi/pulumi";\n');
writeFileSync(
  join(empty, "Pulumi.yaml"),
  "name: empty\nruntime:\n  name: nodejs\n  options: { typescript: false }\n",
);

const environment = {
  PULUMI_BACKEND_URL: `file://${join(empty, "state")}`,
  PULUMI_CONFIG_PASSPHRASE: "empty",
  PULUMI_SKIP_UPDATE_CHECK: "1",
};
const onEmpty = (...args: string[]) =>
  command(cli.command, [...args, "--non-interactive"], environment, empty).done;

const stack = cliStack(cli.command);
await stack.up();
await onEmpty("stack", "select", "--create", "dev");
await onEmpty("up", "--yes", "--skip-preview");

async function timed(run: () => Promise<{ code: number | null; output: string }>): Promise<number> {
  const began = performance.now();
  const { code, output } = await run();
  if (code !== 0) throw new Error(output);
  return performance.now() - began;
}

const ratios: number[] = [];
process.stdout.write("| round | empty program | dev stack | ratio |\n| --- | --- | --- | --- |\n");
for (let round = 0; round <= rounds; round += 1) {
  const none = await timed(() => onEmpty("preview", "--expect-no-changes"));
  const dev = await timed(
    () =>
      pulumi(cli.command, ["preview", "--expect-no-changes"], join(cliPlace.folder, "Pulumi.dev.yaml")).done,
  );
  // The first round warms the file cache.
  if (round === 0) continue;
  ratios.push(dev / none);
  process.stdout.write(
    `| ${round} | ${(none / 1000).toFixed(2)} s | ${(dev / 1000).toFixed(2)} s | ${(dev / none).toFixed(2)} |\n`,
  );
}
const median = ratios.toSorted((a, b) => a - b)[Math.floor(ratios.length / 2)] ?? Number.NaN;
process.stdout.write(`\nmedian ratio ${median.toFixed(2)} (bound 1.3)\n`);
await stack.destroy();
rmSync(empty, { recursive: true, force: true });
process.exit(0);
