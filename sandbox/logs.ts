import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Layout } from "./layout.ts";

/** A log that `logs NAME` can print. */
export interface LogFile {
  /** `kubelet`, or `minio-0/minio` for a pod's container. */
  readonly name: string;
  readonly path: string;
}

/** There is no log of that name. */
export class NoSuchLogError extends Error {
  override readonly name = "NoSuchLogError";
}

/** Every log there is: of the node, of builds and deployments, of the pods' containers. It needs no running node. */
export async function logFiles(layout: Layout): Promise<readonly LogFile[]> {
  if (!existsSync(layout.logs)) return [];
  const own = (await readdir(layout.logs))
    .filter((name) => name.endsWith(".log"))
    .map((name) => ({ name: name.slice(0, -".log".length), path: join(layout.logs, name) }));
  const pods = join(layout.logs, "pods");
  const containers: LogFile[] = [];
  for (const pod of existsSync(pods) ? await readdir(pods) : []) {
    for (const container of await readdir(join(pods, pod))) {
      const folder = join(pods, pod, container);
      const latest = (await readdir(folder))
        .filter((file) => /^\d+\.log$/.test(file))
        .toSorted(byNumber)
        .at(-1);
      if (latest !== undefined) {
        containers.push({ name: `${podName(pod)}/${container}`, path: join(folder, latest) });
      }
    }
  }
  return [...own.toSorted((a, b) => a.name.localeCompare(b.name)), ...containers];
}

/** The logs meant by a name: a component's, else those of the pods whose names begin with it. */
export function chooseLogs(files: readonly LogFile[], name: string): readonly LogFile[] {
  const exact = files.filter((file) => file.name === name);
  if (exact.length > 0) return exact;
  const beginning = files.filter((file) => file.name.includes("/") && file.name.startsWith(name));
  if (beginning.length > 0) return beginning;
  throw new NoSuchLogError(
    `there is no log "${name}"; there are: ${files.map((file) => file.name).join(", ")}`,
  );
}

/** Prints the ends of logs, and what is added to them when asked to follow. */
export async function printLogs(
  files: readonly LogFile[],
  { lines, follow }: { readonly lines: number; readonly follow: boolean },
  signal: AbortSignal,
): Promise<void> {
  const args = [`--lines=${String(lines)}`, ...(follow ? ["--follow=name", "--retry"] : [])];
  const tail = spawn("tail", [...args, "--", ...files.map(({ path }) => path)], { stdio: "inherit" });
  const end = (): void => void tail.kill("SIGTERM");
  signal.addEventListener("abort", end, { once: true });
  await new Promise((ended, failed) => tail.on("close", ended).on("error", failed));
}

/** The kubelet names a pod's folder NAMESPACE_NAME_UID; none of the three holds an underscore. */
function podName(folder: string): string {
  return folder.split("_")[1] ?? folder;
}

function byNumber(a: string, b: string): number {
  return Number.parseInt(a, 10) - Number.parseInt(b, 10);
}
