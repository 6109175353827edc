import { randomBytes } from "node:crypto";

import type { V1Pod } from "@kubernetes/client-node";

import { restrictedPod } from "../../components/kubernetes/workload.ts";
import { isRunning, waitForPod } from "../kube/pods.ts";
import type { Target } from "./target.ts";

/** The label by which what a killed run left behind is found. */
export const probeLabel = "geocrop.io/verify";

/** Milliseconds for a probe pod to run, its image pulled. */
const timeoutMs = 45_000;

export interface ProbeOptions {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Ports that it listens on. @default none */
  readonly ports?: readonly number[];
  /** Shares the node's network instead of having its own. @default false */
  readonly hostNetwork?: boolean;
}

/** A pod to try connections from, and to. */
export interface Probe {
  readonly namespace: string;
  readonly name: string;
  readonly ip: string;
}

/** Listens, if it is to, and ends by itself should nobody delete it. */
const idle = `
const { createServer } = require("node:net");
for (const port of process.argv.slice(1)) createServer((socket) => socket.end()).listen(Number(port));
setTimeout(() => process.exit(), 300_000);
`;

/** One attempt at each target; a policy's block is a silence. */
const attempt = `
const { connect } = require("node:net");
const targets = JSON.parse(process.argv[1]);
const reach = ({ host, port }) => new Promise((resolve) => {
  const socket = connect({ host, port });
  const end = (how) => { socket.destroy(); resolve(how); };
  socket.setTimeout(1500, () => end("silence"));
  socket.once("connect", () => end("connected"));
  socket.once("error", (error) => end(error.code));
});
Promise.all(targets.map(reach)).then((results) => { console.log(JSON.stringify(results)); process.exit(); });
`;

/**
 * Starts a probe pod. It is never ready, so that no Service that its labels fit sends it anybody's traffic.
 *
 * @throws Error when it does not run in time; it is deleted then.
 */
export async function startProbe(target: Target, options: ProbeOptions): Promise<Probe> {
  const { namespace } = options;
  const name = `verify-${randomBytes(4).toString("hex")}`;
  await target.core.createNamespacedPod({ namespace, body: podOf(name, target.image, options) });
  try {
    const { status } = await waitForPod(target.core, { namespace, name }, isRunning, timeoutMs);
    return { namespace, name, ip: status?.podIP ?? "" };
  } catch (error) {
    await endProbe(target, { namespace, name });
    throw error;
  }
}

export async function endProbe(
  target: Target,
  { namespace, name }: Pick<Probe, "namespace" | "name">,
): Promise<void> {
  await target.core.deleteNamespacedPod({ namespace, name, gracePeriodSeconds: 0 });
}

/** For each place, `connected`, `silence`, or the error's code; from a container that has `node`. */
export async function reach(
  target: Target,
  from: { readonly namespace: string; readonly name: string; readonly container?: string },
  places: readonly { readonly host: string; readonly port: number }[],
): Promise<string[]> {
  const command = ["node", "-e", attempt, JSON.stringify(places)];
  const results: unknown = JSON.parse(
    await target.execute(from.namespace, from.name, from.container ?? "probe", command),
  );
  if (!Array.isArray(results)) throw new Error("the probe printed no results");
  return results.map(String);
}

function podOf(
  name: string,
  image: string,
  { namespace, labels, ports = [], hostNetwork = false }: ProbeOptions,
): V1Pod {
  const low = ports.some((port) => port < 1024);
  return {
    metadata: { name, namespace, labels: { ...labels, [probeLabel]: "probe" } },
    spec: {
      ...restrictedPod,
      securityContext: {
        ...restrictedPod.securityContext,
        ...(low ? { sysctls: [{ name: "net.ipv4.ip_unprivileged_port_start", value: "0" }] } : {}),
      },
      ...(hostNetwork ? { hostNetwork } : {}),
      restartPolicy: "Never",
      activeDeadlineSeconds: 300,
      terminationGracePeriodSeconds: 0,
      readinessGates: [{ conditionType: "geocrop.io/never-ready" }],
      containers: [
        {
          name: "probe",
          image,
          imagePullPolicy: "IfNotPresent",
          command: ["node", "-e", idle, ...ports.map(String)],
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ["ALL"] },
          },
          resources: { requests: { cpu: "10m", memory: "64Mi" }, limits: { memory: "128Mi" } },
        },
      ],
    },
  };
}
