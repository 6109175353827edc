import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { copyFile, mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { SandboxContext } from "../context.ts";
import { type Engine, recordEngine } from "./engine.ts";
import type { Layout } from "../layout.ts";
import { writeWhole } from "../cluster/node/config-files.ts";
import { readStackFile, sandboxStackFile, urls } from "./stack-file.ts";

const stackName = "dev";

/** Brings the stack to what the program says, by the given engine. Writes the stack file both engines read. */
export async function deploy(context: SandboxContext, engine: Engine): Promise<void> {
  const { layout, step } = context;
  await recordEngine(layout, engine.name);
  if (engine.name === "cli") {
    step.note(`engine: the Pulumi CLI (${engine.why})`);
    await prepareCliStack(context, engine.command);
  } else {
    step.note(`engine: the embedded deployer, which is for trying and testing only (${engine.why})`);
  }
  await writeStackFile(context);
  const options = {
    cwd: layout.project,
    env: context.environment,
    logFile: join(layout.logs, "deploy.log"),
    onLine: (line: string) => step.doing(line.trim().slice(0, 100)),
  };
  if (engine.name === "cli") {
    const args = ["up", "--yes", "--skip-preview", "--non-interactive", "--color", "never"];
    await context.run(
      engine.command,
      [...args, "--stack", stackName, "--config-file", layout.stackFile],
      options,
    );
  } else {
    const program = join(layout.project, "sandbox/engine/embedded/main.ts");
    const files = ["--config-file", layout.stackFile, "--state", layout.embeddedState, "--mc", context.mc];
    await context.run(process.execPath, [program, "up", "--stack", stackName, ...files], options);
  }
  await writeAuthorityFile(context);
}

/** What the stack's tools read from their environment; `npm run sandbox -- env` prints the same. */
export function stackEnvironment(layout: Layout, engine: Engine["name"]): Record<string, string> {
  return {
    KUBECONFIG: layout.kubeconfig,
    GEOCROP_API_URL: urls.api,
    GEOCROP_DOWNLOAD_URL: urls.downloads,
    GEOCROP_CA_FILE: layout.caFile,
    ...(engine === "cli"
      ? {
          PULUMI_BACKEND_URL: `file://${join(layout.pulumi, "state")}`,
          PULUMI_CONFIG_PASSPHRASE_FILE: join(layout.pulumi, "passphrase"),
          PULUMI_SKIP_UPDATE_CHECK: "1",
        }
      : {}),
  };
}

async function writeStackFile({ layout, images }: SandboxContext): Promise<void> {
  const repositoryText = await readFile(join(layout.project, "Pulumi.dev.yaml"), "utf8");
  const text = sandboxStackFile(repositoryText, {
    images,
    apiUrl: urls.api,
    downloadUrl: urls.downloads,
    storageClass: "sandbox",
    encryptionSalt: await encryptionSalt(layout),
  });
  await writeWhole(layout.stackFile, text);
}

/** `stack init` writes the stack's salt beside the Pulumi.yaml it finds: it is given a copy, to leave the project clean. */
function initFolder(layout: Layout): string {
  return join(layout.pulumi, "init");
}

async function encryptionSalt(layout: Layout): Promise<string | undefined> {
  const path = join(initFolder(layout), `Pulumi.${stackName}.yaml`);
  if (!existsSync(path)) return undefined;
  return /^encryptionsalt: (.+)$/m.exec(await readFile(path, "utf8"))?.[1];
}

async function prepareCliStack({ layout, run, environment }: SandboxContext, command: string): Promise<void> {
  await mkdir(join(layout.pulumi, "state"), { recursive: true, mode: 0o700 });
  const passphrase = join(layout.pulumi, "passphrase");
  if (!existsSync(passphrase)) await writeWhole(passphrase, randomBytes(24).toString("base64url"));
  await removeDeadLocks(layout);
  if ((await encryptionSalt(layout)) !== undefined) return;
  const folder = initFolder(layout);
  await mkdir(folder, { recursive: true });
  await copyFile(join(layout.project, "Pulumi.yaml"), join(folder, "Pulumi.yaml"));
  await run(command, ["stack", "select", "--create", stackName, "--non-interactive"], {
    cwd: folder,
    env: environment,
  });
}

const pulumiLock = z.object({ pid: z.number() });

/** A CLI that was killed leaves its lock on the state, which the next would stop at. A living one's stays. */
async function removeDeadLocks(layout: Layout): Promise<void> {
  const locks = join(layout.pulumi, "state/.pulumi/locks");
  if (!existsSync(locks)) return;
  for (const name of await readdir(locks, { recursive: true })) {
    if (!name.endsWith(".json")) continue;
    const path = join(locks, name);
    const { pid } = pulumiLock.parse(JSON.parse(await readFile(path, "utf8")));
    if (!existsSync(`/proc/${String(pid)}`)) await rm(path);
  }
}

/** The dev stack's certificates are by an authority of its own, which clients outside the cluster have to know. */
async function writeAuthorityFile({ cluster, layout, namespace }: SandboxContext): Promise<void> {
  const secret = await cluster.core.readNamespacedSecret({ name: "geocrop-api-tls", namespace });
  const certificate = secret.data?.["ca.crt"];
  if (certificate === undefined) throw new Error("the Secret geocrop-api-tls has no ca.crt");
  await writeWhole(layout.caFile, Buffer.from(certificate, "base64").toString("utf8"));
}

/** The stack's namespace, by the repository's stack file. */
export async function stackNamespace(layout: Layout): Promise<string> {
  return readStackFile(await readFile(join(layout.project, "Pulumi.dev.yaml"), "utf8")).namespace;
}
