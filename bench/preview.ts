/**
 * A `pulumi preview` of the dev stack that changes nothing, against three other programs, in turn: an empty one that
 * runs as ours does, an empty one in Pulumi's own TypeScript mode, and one with a single resource of each of three of
 * our four providers, which tells what starting plugins costs. `npm run bench:preview` needs a Pulumi CLI with its
 * plugins on PATH and the sandbox running.
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

const empty = 'import * as pulumi from "@pulumi/pulumi";\nvoid pulumi;\n';
const threeProviders = `import * as kubernetes from "@pulumi/kubernetes";
import * as random from "@pulumi/random";
import * as tls from "@pulumi/tls";
new kubernetes.core.v1.ConfigMap("one", { metadata: { name: "bench-preview", namespace: "default" } });
new random.RandomString("one", { length: 8 });
new tls.PrivateKey("one", { algorithm: "ECDSA" });
`;

/** Makes a small project with a stack, and hands back how to preview it and how to take it away. */
async function smallProject(name: string, runtime: string, packageFields: object, program: string) {
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
  writeFileSync(join(folder, "index.ts"), program);
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
  return {
    preview: () => run("preview", "--expect-no-changes"),
    destroy: () => run("destroy", "--yes", "--skip-preview"),
  };
}

const ours = "  options: { typescript: false }\n";
const stripped = await smallProject("empty-stripped", ours, { type: "module" }, empty);
const compiled = await smallProject("empty-compiled", "  options: { typescript: true }\n", {}, empty);
const plugins = await smallProject("three-providers", ours, { type: "module" }, threeProviders);

const stack = cliStack(binary);
await stack.up();

async function timed(run: () => Promise<{ code: number | null; output: string }>): Promise<number> {
  const began = performance.now();
  const { code, output } = await run();
  if (code !== 0) throw new Error(output);
  return performance.now() - began;
}

const file = join(cliPlace.folder, "Pulumi.dev.yaml");
const contenders = {
  "empty, types stripped by Node": stripped.preview,
  "empty, Pulumi's TypeScript mode": compiled.preview,
  "three providers, a resource each": plugins.preview,
  "dev stack": () => pulumi(binary, ["preview", "--expect-no-changes"], file).done,
};
const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(2)} s`;
const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

const taken = Object.keys(contenders).map((): number[] => []);
process.stdout.write(
  `| round | ${Object.keys(contenders).join(" | ")} |\n|${" --- |".repeat(taken.length + 1)}\n`,
);
for (let round = 0; round <= rounds; round += 1) {
  const times: number[] = [];
  for (const preview of Object.values(contenders)) times.push(await timed(preview));
  // The first round warms the file cache.
  if (round === 0) continue;
  times.forEach((time, index) => taken[index]?.push(time));
  process.stdout.write(`| ${round} | ${times.map(seconds).join(" | ")} |\n`);
}
process.stdout.write(`| median | ${taken.map((times) => seconds(median(times))).join(" | ")} |\n`);
const dev = taken.at(-1) ?? [];
const ratios = taken.map((times) => median(dev.map((time, round) => time / (times[round] ?? Number.NaN))));
process.stdout.write(`| dev stack to it | ${ratios.map((ratio) => ratio.toFixed(2)).join(" | ")} |\n`);

await stack.destroy();
await plugins.destroy();
rmSync(join(layout.data, "bench"), { recursive: true, force: true });
process.exit(0);
