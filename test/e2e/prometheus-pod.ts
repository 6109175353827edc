import { setTimeout as pause } from "node:timers/promises";

import { CoreV1Api } from "@kubernetes/client-node";
import { parse, stringify } from "yaml";

import { restrictedContainer, restrictedPod } from "../../components/kubernetes/workload.ts";
import { readSecretValue } from "../../tools/kube/dev-cluster.ts";
import { ensureProgram } from "../support/debian.ts";
import { snippet } from "../support/snippets.ts";
import { inPod, sandboxCluster } from "./live.ts";

const binary = "/usr/bin/prometheus";
const configFolder = "/etc/prometheus";

/** One series of an answer, with its last value. */
export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [seconds: number, value: string];
}

/** What Prometheus knows of something that it asks. */
export interface ScrapeTarget {
  readonly labels: Readonly<Record<string, string>>;
  readonly health: string;
  /** Empty when it answered. */
  readonly lastError: string;
}

/** A Prometheus in a pod. */
export interface Prometheus {
  readonly query: (text: string) => Promise<readonly Sample[]>;
  readonly targets: () => Promise<readonly ScrapeTarget[]>;
  /** The state of each alert, by its name. */
  readonly alerts: () => Promise<Readonly<Record<string, string>>>;
}

/**
 * Starts Debian's Prometheus in a namespace, by the configuration that docs/monitoring.md gives operators: only the
 * stack's namespace differs, and it looks and asks every two seconds. A second job, `wrong-authority`, differs in whom it trusts:
 * the cluster's authority, not the stack's.
 */
export async function startPrometheus(namespace: string, stack: string): Promise<Prometheus> {
  await ensureProgram(binary, "prometheus");
  const core = sandboxCluster().makeApiClient(CoreV1Api);
  await core.createNamespacedConfigMap({
    namespace,
    body: {
      metadata: { name: "prometheus" },
      data: {
        "prometheus.yml": await configuration(stack),
        "geocrop-api.rules.yml": await snippet("monitoring.md", "yaml geocrop-api.rules.yml"),
        "ca.crt": await readSecretValue(sandboxCluster(), stack, "geocrop-api-tls", "ca.crt"),
      },
    },
  });
  await core.createNamespacedPod({
    namespace,
    body: {
      metadata: { name: "prometheus" },
      spec: {
        ...restrictedPod,
        terminationGracePeriodSeconds: 0,
        containers: [
          {
            securityContext: restrictedContainer.securityContext,
            name: "prometheus",
            // There is no image of it here: the binary is the node's, on an image that has the C library, and Node to
            // ask it with.
            image: "geocrop.sandbox/job-client:dev",
            imagePullPolicy: "IfNotPresent",
            command: [binary],
            args: [`--config.file=${configFolder}/prometheus.yml`, "--storage.tsdb.path=/tmp/data"],
            volumeMounts: [
              { name: "binary", mountPath: binary, readOnly: true },
              { name: "config", mountPath: configFolder, readOnly: true },
              { name: "cluster-authority", mountPath: "/etc/cluster-authority", readOnly: true },
              { name: "data", mountPath: "/tmp" },
            ],
          },
        ],
        volumes: [
          { name: "binary", hostPath: { path: binary, type: "File" } },
          { name: "config", configMap: { name: "prometheus" } },
          // Kubernetes puts this one into every namespace.
          { name: "cluster-authority", configMap: { name: "kube-root-ca.crt" } },
          { name: "data", emptyDir: {} },
        ],
      },
    },
  });
  const ask = async <Data>(path: string): Promise<Data> => {
    const script = "fetch(process.argv[1]).then((answer) => answer.text()).then(console.log)";
    const url = `http://127.0.0.1:9090/api/v1/${path}`;
    const text = await inPod(namespace, "prometheus", "prometheus", ["node", "-e", script, url]);
    const { status, data }: { status: string; data: Data } = JSON.parse(text);
    if (status !== "success") throw new Error(`Prometheus answers ${path} with ${text}`);
    return data;
  };
  const deadline = Date.now() + 60_000;
  while ((await ask("status/buildinfo").catch(() => undefined)) === undefined) {
    if (Date.now() > deadline) throw new Error(`Prometheus does not answer in ${namespace}`);
    await pause(500);
  }
  return {
    query: async (text) =>
      (await ask<{ result: Sample[] }>(`query?query=${encodeURIComponent(text)}`)).result,
    targets: async () => (await ask<{ activeTargets: ScrapeTarget[] }>("targets?state=active")).activeTargets,
    alerts: async () => {
      const { groups } = await ask<{ groups: { rules: { name: string; state: string }[] }[] }>("rules");
      return Object.fromEntries(groups.flatMap(({ rules }) => rules.map(({ name, state }) => [name, state])));
    },
  };
}

async function configuration(stack: string): Promise<string> {
  const text = await snippet("monitoring.md", "yaml prometheus.yml");
  const page = parse(text.replaceAll(".geocrop.svc", `.${stack}.svc`));
  const [job] = page.scrape_configs;
  job.dns_sd_configs[0].refresh_interval = "2s";
  return stringify({
    global: { scrape_interval: "2s", evaluation_interval: "2s" },
    ...page,
    scrape_configs: [
      job,
      {
        ...job,
        job_name: "wrong-authority",
        tls_config: { ...job.tls_config, ca_file: "/etc/cluster-authority/ca.crt" },
      },
    ],
  });
}
