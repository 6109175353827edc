import type { Cluster } from "./cluster/cluster.ts";
import type { Layout } from "./layout.ts";
import type { NodeRecord } from "./cluster/node/host.ts";
import type { Step } from "./progress.ts";
import type { Run } from "./run.ts";

/** The running sandbox, as the steps that work on it see it. */
export interface SandboxContext {
  readonly layout: Layout;
  readonly run: Run;
  /** Aborted when the user interrupts. */
  readonly signal: AbortSignal;
  /** Where the step under way says what it does. */
  readonly step: Step;
  readonly cluster: Cluster;
  readonly node: NodeRecord;
  /** The stack's namespace. */
  readonly namespace: string;
  /** References by digest, by image name (`minio`, `job-client`, ...). */
  readonly images: Readonly<Record<string, string>>;
  /** Environment for the stack's tools: `KUBECONFIG`, `GEOCROP_*`, `PULUMI_*`. */
  readonly environment: Readonly<Record<string, string>>;
}
