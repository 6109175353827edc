import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Layout } from "../layout.ts";
import type { Step } from "../progress.ts";
import type { Run } from "../run.ts";

/** Commands built from one Go module under `sandbox/tools`, which pins every version by its go.mod and go.sum. */
export interface Build {
  /** Also the folder's name. */
  readonly name: string;
  /** Import paths of the commands; each binary has the name of its last element, or of the module's folder. */
  readonly packages: readonly string[];
  /** Version information for the linker. @default none */
  readonly versionFlags?: readonly string[];
  /** About how long a build with empty caches takes on two cores, in seconds. @default no estimate is shown */
  readonly coldSeconds?: number;
}

const kubernetesVersion = "v1.35.4";

/** What is built, in the order in which it is needed: the node first. */
export const builds = [
  {
    name: "kubernetes",
    packages: ["kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet"].map(
      (command) => `k8s.io/kubernetes/cmd/${command}`,
    ),
    versionFlags: [`-X k8s.io/component-base/version.gitVersion=${kubernetesVersion}`],
    coldSeconds: 520,
  },
  { name: "coredns", packages: ["."], coldSeconds: 100 },
  { name: "minio", packages: ["github.com/minio/minio"], coldSeconds: 222 },
  { name: "mc", packages: ["github.com/minio/mc"], coldSeconds: 81 },
] as const satisfies readonly Build[];

/** Pulumi's CLI and its Kubernetes provider: built only where the official ones are neither installed nor to be downloaded. */
export const engineBuilds = {
  pulumi: {
    name: "pulumi",
    packages: ["github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"],
    // Without it, the Automation API can't tell the CLI's version.
    versionFlags: ["-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v3.274.1"],
    coldSeconds: 290,
  },
  kubernetesProvider: {
    name: "pulumi-kubernetes",
    packages: ["."],
    // The version that the npm SDK asks for: the module has no tag of its own.
    versionFlags: ["-X github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version.Version=4.34.2"],
    coldSeconds: 600,
  },
} as const satisfies Readonly<Record<string, Build>>;

/** What only tests of the stack need: built when one of them asks, never by `up`. */
export const testBuilds = {
  manifestChecks: {
    name: "manifest-checks",
    packages: [".", "github.com/yannh/kubeconform/cmd/kubeconform"],
  },
  kubeScore: { name: "kube-score", packages: ["github.com/zegl/kube-score/cmd/kube-score"] },
  victoriaLogs: {
    name: "victoria-logs",
    packages: ["github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs"],
  },
} as const satisfies Readonly<Record<string, Build>>;

/** Name of a {@link Build}. */
export type BuildName = (typeof builds)[number]["name"];

/** The folder that holds each build's binaries. */
export type Binaries = Readonly<Record<BuildName, string>>;

/** Binaries without C: they run in an image from scratch. No toolchain is fetched behind the user's back. */
const environment = { CGO_ENABLED: "0", GOTOOLCHAIN: "local", GOFLAGS: "", GOWORK: "off" };

/** Arguments of `go build` for a build, but for the output. */
export function goArguments(build: Build): readonly string[] {
  const linker = ["-s", "-w", ...(build.versionFlags ?? [])].join(" ");
  return ["build", "-trimpath", "-buildvcs=false", `-ldflags=${linker}`];
}

/** The folder of the module of a build. */
export function moduleFolder(layout: Layout, build: Build): string {
  return join(layout.project, "sandbox/tools", build.name);
}

/**
 * Builds what is not in the cache. A binary's folder is named by all that goes into it, and appears at once when it is
 * whole: an interrupted build leaves nothing that could be taken for one.
 */
export async function ensureBuilds(layout: Layout, run: Run, step: Step): Promise<Binaries> {
  const folders: Partial<Record<BuildName, string>> = {};
  const missing = await missingBuilds(layout);
  for (const build of builds) {
    folders[build.name] = await ensureBuild(layout, run, step, build, missing);
  }
  const onDemand = [...Object.values(engineBuilds), ...Object.values(testBuilds)];
  const others = await Promise.all(onDemand.map((build) => buildFolder(layout, build)));
  await removeOthers(layout.binaries, [...Object.values(folders), ...others]);
  const { kubernetes, coredns, minio, mc } = folders;
  if (kubernetes === undefined || coredns === undefined || minio === undefined || mc === undefined) {
    throw new Error("a build is missing from the list of builds");
  }
  return { kubernetes, coredns, minio, mc };
}

/**
 * The folder of one build's binaries, built if the cache lacks it.
 *
 * @param missing all builds that this run has to do, to say which of them this is. @default this one alone
 */
export async function ensureBuild(
  layout: Layout,
  run: Run,
  step: Step,
  build: Build,
  missing: readonly Build[] = [build],
): Promise<string> {
  const folder = await buildFolder(layout, build);
  if (existsSync(folder)) return folder;
  const title = describeBuild(build, missing, availableParallelism());
  step.note(`${title} (log: ${buildLog(layout, build)})`);
  step.doing(title);
  await runBuild(layout, build, folder, run);
  return folder;
}

/** Which of the missing builds this is, and about how long it takes: `Build 3 of 6: minio, about 4 min on 2 cores`. */
export function describeBuild(build: Build, missing: readonly Build[], cores: number): string {
  const number = missing.findIndex(({ name }) => name === build.name) + 1;
  const position = `Build ${String(number)} of ${String(missing.length)}: ${build.name}`;
  if (build.coldSeconds === undefined) return position;
  const minutes = Math.max(1, Math.round((build.coldSeconds * 2) / cores / 60));
  return `${position}, about ${String(minutes)} min on ${cores === 1 ? "1 core" : `${String(cores)} cores`}`;
}

/** Whether a build is in the cache. */
export async function isBuilt(layout: Layout, build: Build): Promise<boolean> {
  return existsSync(await buildFolder(layout, build));
}

/** Which builds are not in the cache. */
export async function missingBuilds(layout: Layout): Promise<readonly Build[]> {
  const missing: Build[] = [];
  for (const build of builds) {
    if (!existsSync(await buildFolder(layout, build))) missing.push(build);
  }
  return missing;
}

async function runBuild(layout: Layout, build: Build, folder: string, run: Run): Promise<void> {
  await mkdir(layout.binaries, { recursive: true });
  const part = await mkdtemp(join(layout.binaries, ".part-"));
  try {
    await run("go", [...goArguments(build), "-o", `${part}/`, ...build.packages], {
      cwd: moduleFolder(layout, build),
      env: environment,
      logFile: buildLog(layout, build),
    });
    await rename(part, folder);
  } finally {
    await rm(part, { recursive: true, force: true });
  }
}

async function buildFolder(layout: Layout, build: Build): Promise<string> {
  return join(layout.binaries, `${build.name}-${await buildKey(layout, build)}`);
}

function buildLog(layout: Layout, build: Build): string {
  return join(layout.logs, `build-${build.name}.log`);
}

/** Tells a build from any other: its module's files, its packages, its flags, the processor. */
async function buildKey(layout: Layout, build: Build): Promise<string> {
  const folder = moduleFolder(layout, build);
  const hash = createHash("sha256");
  hash.update(JSON.stringify([goArguments(build), build.packages, environment, process.arch]));
  for (const name of (await readdir(folder)).toSorted()) {
    hash.update(JSON.stringify([name, await readFile(join(folder, name), "utf8")]));
  }
  return hash.digest("hex").slice(0, 16);
}

/** Builds of former versions, and parts that a killed run left. */
async function removeOthers(binaries: string, keep: readonly string[]): Promise<void> {
  for (const name of await readdir(binaries)) {
    const path = join(binaries, name);
    if (!keep.includes(path)) await rm(path, { recursive: true, force: true });
  }
}
