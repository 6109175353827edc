/**
 * A preview of the dev stack that changes nothing, against an empty program and against one that declares as many plain
 * resources of the same providers (ConfigMaps, random strings, keys; MinIO's need a server and count as random strings),
 * in turn, all by the engine that the sandbox uses. `npm run bench:preview` needs the sandbox running.
 */
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { engineEnvironment, prepareState } from "../sandbox/engine/engine.ts";
import { command, layout, sandboxEngine } from "../test/e2e/stacks.ts";

const rounds = 7;
const bounds = { empty: 1.7, plain: 1.15 };

const folder = join(layout.data, "bench");
rmSync(folder, { recursive: true, force: true });
const { cli, home } = await sandboxEngine();

/** Runs an operation of the engine on a project's stack. @throws Error when it fails. */
async function operate(operation: string, stackFolder: string, project: string): Promise<string> {
  const { code, stdout, output } = await command(
    process.execPath,
    [
      join(layout.project, "sandbox/engine/stack.ts"),
      operation,
      "--cli",
      cli.root,
      "--folder",
      stackFolder,
      "--project",
      project,
      "--json",
    ],
    engineEnvironment(home, stackFolder),
  ).done;
  if (code !== 0) throw new Error(output);
  return stdout;
}

/** Makes a project of one file, deploys it, and hands back how to preview and to destroy it. */
async function smallProject(name: string, program: string) {
  const project = join(folder, name);
  mkdirSync(project, { recursive: true });
  symlinkSync(join(layout.project, "node_modules"), join(project, "node_modules"));
  writeFileSync(join(project, "package.json"), JSON.stringify({ name, type: "module" }));
  writeFileSync(join(project, "index.ts"), program);
  writeFileSync(join(project, "Pulumi.yaml"), "name: geocrop-storage\nruntime: nodejs\n");
  const stackFolder = join(project, "stack");
  await prepareState(stackFolder);
  await operate("up", stackFolder, project);
  return {
    preview: () => operate("preview", stackFolder, project),
    destroy: () => operate("destroy", stackFolder, project),
  };
}

const preview = (): Promise<string> => operate("preview", layout.pulumi, layout.project);
const { changes }: { changes: { same?: number } } = JSON.parse(await preview());
const count = changes.same ?? 0;

const plainProgram = `import * as kubernetes from "@pulumi/kubernetes";
import * as random from "@pulumi/random";
import * as tls from "@pulumi/tls";
for (let index = 0; index < ${String(Math.round(count / 2))}; index += 1) {
  new kubernetes.core.v1.ConfigMap(\`map-\${index}\`, { metadata: { name: \`bench-\${index}\`, namespace: "default" } });
}
for (let index = 0; index < ${String(Math.floor(count / 2) - 10)}; index += 1) {
  new random.RandomString(\`text-\${index}\`, { length: 8 });
}
for (let index = 0; index < 10; index += 1) new tls.PrivateKey(\`key-\${index}\`, { algorithm: "ECDSA" });
`;

const empty = await smallProject("empty", "export {};\n");
const plain = await smallProject("plain", plainProgram);

async function timed(run: () => Promise<string>): Promise<number> {
  const began = performance.now();
  const { changes }: { changes: Record<string, number> } = JSON.parse(await run());
  if (Object.keys(changes).some((change) => change !== "same")) throw new Error(JSON.stringify(changes));
  return performance.now() - began;
}

const contenders = { empty: empty.preview, "as many plain resources": plain.preview, "dev stack": preview };
const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(2)} s`;
const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

const taken = Object.keys(contenders).map((): number[] => []);
process.stdout.write(`${String(count)} resources\n\n| round | ${Object.keys(contenders).join(" | ")} |\n`);
process.stdout.write(`|${" --- |".repeat(taken.length + 1)}\n`);
for (let round = 0; round <= rounds; round += 1) {
  const times: number[] = [];
  for (const run of Object.values(contenders)) times.push(await timed(run));
  // The first round warms the file cache.
  if (round === 0) continue;
  times.forEach((time, index) => taken[index]?.push(time));
  process.stdout.write(`| ${String(round)} | ${times.map(seconds).join(" | ")} |\n`);
}
process.stdout.write(`| median | ${taken.map((times) => seconds(median(times))).join(" | ")} |\n`);
const dev = taken.at(-1) ?? [];
const ratio = (index: number): number =>
  median(dev.map((time, round) => time / (taken[index]?.[round] ?? Number.NaN)));
process.stdout.write(
  `\ndev stack to empty: ${ratio(0).toFixed(2)} (bound ${String(bounds.empty)}), ` +
    `to as many plain resources: ${ratio(1).toFixed(2)} (bound ${String(bounds.plain)})\n`,
);

await plain.destroy();
rmSync(folder, { recursive: true, force: true });
process.exit(ratio(0) <= bounds.empty && ratio(1) <= bounds.plain ? 0 : 1);
