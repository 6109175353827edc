import { existsSync } from "node:fs";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";

import { z } from "zod";

import { writeWhole } from "../cluster/node/config-files.ts";
import type { SandboxContext } from "../context.ts";
import type { Layout } from "../layout.ts";
import { type Engine, engineEnvironment, prepareState } from "./engine.ts";
import { readStackFile, sandboxStackFile, urls } from "./stack-file.ts";

/** Brings the dev stack to what the program says. */
export async function deploy(context: SandboxContext, engine: Engine): Promise<void> {
  const { layout, step } = context;
  await prepareState(layout.pulumi);
  await removeDeadLocks(layout.pulumi);
  await writeStackFile(context);
  await context.run(
    process.execPath,
    [
      join(layout.project, "sandbox/engine/stack.ts"),
      "up",
      "--cli",
      engine.cli.root,
      "--folder",
      layout.pulumi,
    ],
    {
      env: context.environment,
      logFile: join(layout.logs, "deploy.log"),
      onLine: (line: string) => step.doing(line.trim().slice(0, 100)),
    },
  );
  await writeAuthorityFile(context);
}

/** What the stack's tools read from their environment; `npm run sandbox -- env` prints the same. */
export function stackEnvironment(layout: Layout): Record<string, string> {
  return {
    KUBECONFIG: layout.kubeconfig,
    GEOCROP_API_URL: urls.api,
    GEOCROP_DOWNLOAD_URL: urls.downloads,
    GEOCROP_CA_FILE: layout.caFile,
    ...engineEnvironment(layout.pulumiHome, layout.pulumi),
  };
}

/** The engine writes its salt into the stack file, which has to stay in it. */
async function writeStackFile({ layout, images }: SandboxContext): Promise<void> {
  const repositoryText = await readFile(join(layout.project, "Pulumi.dev.yaml"), "utf8");
  const salt = existsSync(layout.stackFile)
    ? readStackFile(await readFile(layout.stackFile, "utf8")).encryptionSalt
    : undefined;
  const text = sandboxStackFile(repositoryText, {
    images,
    apiUrl: urls.api,
    downloadUrl: urls.downloads,
    storageClass: "sandbox",
    encryptionSalt: salt,
  });
  await writeWhole(layout.stackFile, text);
}

const lockSchema = z.object({ pid: z.number() });

/** A CLI that was killed leaves its lock on the state, at which the next would stop. The lock of a running one stays. */
export async function removeDeadLocks(folder: string): Promise<void> {
  const locks = join(folder, "state/.pulumi/locks");
  if (!existsSync(locks)) return;
  for (const name of await readdir(locks, { recursive: true })) {
    if (!name.endsWith(".json")) continue;
    const path = join(locks, name);
    const { pid } = lockSchema.parse(JSON.parse(await readFile(path, "utf8")));
    if (!(await isRunning(pid))) await rm(path);
  }
}

/** A killed process whose parent has not asked for its end yet is still listed, as a zombie (proc_pid_stat(5)). */
async function isRunning(pid: number): Promise<boolean> {
  try {
    const stat = await readFile(`/proc/${String(pid)}/stat`, "utf8");
    return !/\) [ZX] /.test(stat);
  } catch {
    return false;
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
