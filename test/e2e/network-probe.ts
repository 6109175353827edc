import { randomBytes } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";

import { CoreV1Api, type KubeConfig } from "@kubernetes/client-node";

import { restrictedPod } from "../../components/kubernetes/workload.ts";

/** Connects, prints one word, and ends; a policy's block is a silence, so it waits for a bounded time only. */
const script = (host: string, port: number): string => `
const { connect } = require("node:net");
const deadline = Date.now() + 8000;
const attempt = () => {
  const socket = connect({ host: ${JSON.stringify(host)}, port: ${port}, timeout: 2000 });
  const again = () => { socket.destroy(); if (Date.now() > deadline) { console.log("blocked"); process.exit(); } setTimeout(attempt, 250); };
  socket.once("connect", () => { console.log("connected"); process.exit(); });
  socket.once("timeout", again);
  socket.once("error", again);
};
attempt();
`;

/** Whether a pod with these labels gets a TCP connection. The pod is made for it, and deleted. */
export async function canConnect(
  cluster: KubeConfig,
  namespace: string,
  labels: Record<string, string>,
  host: string,
  port: number,
): Promise<boolean> {
  const api = cluster.makeApiClient(CoreV1Api);
  const name = `probe-${randomBytes(4).toString("hex")}`;
  await api.createNamespacedPod({
    namespace,
    body: {
      metadata: { name, labels },
      spec: {
        ...restrictedPod,
        restartPolicy: "Never",
        containers: [
          {
            name: "probe",
            image: "geocrop.sandbox/job-client:dev",
            imagePullPolicy: "IfNotPresent",
            command: ["node", "-e", script(host, port)],
            securityContext: {
              allowPrivilegeEscalation: false,
              readOnlyRootFilesystem: true,
              capabilities: { drop: ["ALL"] },
            },
          },
        ],
      },
    },
  });
  try {
    for (let tries = 0; tries < 120; tries += 1) {
      const { status } = await api.readNamespacedPod({ namespace, name });
      if (status?.phase === "Failed") throw new Error("the probe pod failed");
      if (status?.phase === "Succeeded") {
        return (await api.readNamespacedPodLog({ namespace, name })).trim() === "connected";
      }
      await pause(500);
    }
    throw new Error("the probe pod did not end within 60 s");
  } finally {
    await api.deleteNamespacedPod({ namespace, name, gracePeriodSeconds: 0 });
  }
}
