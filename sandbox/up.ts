import { join } from "node:path";
import { addons, dnsSelector } from "./cluster/addons.ts";
import { ensureBuilds } from "./cluster/builds.ts";
import { until } from "./cluster/cluster.ts";
import type { SandboxContext } from "./context.ts";
import { deploy, stackEnvironment, stackNamespace } from "./engine/deploy.ts";
import { prepareEngine, refuseOldSandbox } from "./engine/engine.ts";
import { importImages, removeSupersededImages } from "./cluster/image-store.ts";
import { buildImages } from "./cluster/images.ts";
import type { Layout } from "./layout.ts";
import { withLock } from "./lock.ts";
import { runSmokeTest } from "./smoke-test/smoke-test.ts";
import { installPackages, missingPackages } from "./cluster/packages.ts";
import { PrerequisitesError, faultsOf, machineFacts } from "./cluster/prerequisites.ts";
import { type Progress, elapsed } from "./progress.ts";
import { type Run, runner } from "./run.ts";
import { ensureNode, stopFailedNode } from "./cluster/start-node.ts";
import { urls } from "./engine/stack-file.ts";

/** How the sandbox is brought up. */
export interface UpOptions {
  /** When a step fails, leave the node running. */
  readonly keep: boolean;
}

/** Number of steps {@link up} takes. */
export const stepCount = 9;

/**
 * Takes the machine from any state to a sandbox with the dev stack on it, proved by the smoke test. Does only what
 * is not done yet. When it can't come to its end, it leaves no node behind that it had started.
 */
export async function up(
  layout: Layout,
  options: UpOptions,
  progress: Progress,
  signal: AbortSignal,
): Promise<void> {
  const run = runner(signal);
  const began = Date.now();
  await progress.step("Check the machine", async () => {
    const faults = faultsOf(await machineFacts(layout, run));
    if (faults.length > 0) throw new PrerequisitesError(faults);
    refuseOldSandbox(layout);
  });
  await withLock(layout.lock, (recordActivity) => {
    progress.onActivity(recordActivity);
    return bringUp(layout, options, progress, run, signal);
  });
  progress.line(`\nThe sandbox is ready, after ${elapsed(Date.now() - began)}.`);
}

async function bringUp(
  layout: Layout,
  options: UpOptions,
  progress: Progress,
  run: Run,
  signal: AbortSignal,
): Promise<void> {
  await progress.step("Install packages", async (step) => {
    const missing = missingPackages();
    if (missing.length > 0) await installPackages(missing, run, step);
  });

  const binaries = await progress.step("Build Kubernetes, CoreDNS, MinIO", (step) =>
    ensureBuilds(layout, run, step),
  );

  const engine = await progress.step("Prepare Pulumi's engine", (step) => prepareEngine(layout, run, step));

  const built = await progress.step("Build images", (step) =>
    buildImages({
      cacheDir: layout.cache,
      dataDir: layout.data,
      binaries: {
        minio: join(binaries.minio, "minio"),
        coredns: join(binaries.coredns, "coredns"),
        catatonit: "/usr/bin/catatonit",
      },
      run,
      progress: step,
    }),
  );
  const images = Object.fromEntries(Object.entries(built).map(([name, { reference }]) => [name, reference]));

  const node = await progress.step("Start the node", (step) =>
    ensureNode(layout, binaries.kubernetes, run, signal, step),
  );

  try {
    const inCluster = {
      layout,
      run,
      signal,
      cluster: node.cluster,
      node: node.record,
      namespace: await stackNamespace(layout),
      images,
      environment: stackEnvironment(layout),
    } satisfies Omit<SandboxContext, "step">;

    await progress.step("Install cluster add-ons: images, DNS, storage", async (step) => {
      await importImages(node.record, Object.values(built), run, step);
      await node.cluster.apply(await addons(imageOf(images, "coredns")));
      step.doing("waiting for DNS");
      await until(
        "DNS is ready",
        120,
        signal,
        async () =>
          (await node.cluster.podsAreReady("kube-system", dnsSelector)) &&
          (await node.cluster.deploymentIsReady("kube-system", "coredns")),
      );
    });

    await progress.step("Deploy the dev stack", async (step) => {
      await deploy({ ...inCluster, step }, engine);
      const inUse = await node.cluster.imagesInUse();
      await removeSupersededImages(node.record, Object.values(built), inUse, run);
    });

    await progress.step("Run the smoke test: download a result through a signed URL", (step) =>
      runSmokeTest(
        {
          cluster: node.cluster.config,
          namespace: inCluster.namespace,
          apiUrl: urls.api,
          downloadUrl: urls.downloads,
          caFile: layout.caFile,
          scratch: layout.scratch,
        },
        run,
        step,
      ),
    );
  } catch (error) {
    if (node.isNew && (signal.aborted || !options.keep)) {
      await stopFailedNode(layout, { note: (text) => progress.line(text) });
    }
    throw error;
  }
}

function imageOf(images: Readonly<Record<string, string>>, name: string): string {
  const reference = images[name];
  if (reference === undefined) throw new Error(`the image ${name} was not built`);
  return reference;
}
