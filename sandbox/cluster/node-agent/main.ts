/**
 * The sandbox's node agent: a TEST FIXTURE, no product. The sandbox is one node without a network plugin that knows
 * NetworkPolicy and without a storage driver; this process stands in for both. Run it inside the node's network and
 * mount namespaces, as root.
 */
import { mkdir, realpath } from "node:fs/promises";
import { parseArgs } from "node:util";
import { KubeConfig } from "@kubernetes/client-node";
import { nodeName } from "../../layout.ts";
import { startEnforcer } from "./enforcer.ts";
import { logToStdout } from "./log.ts";
import { startVolumes } from "./volumes.ts";

const { values } = parseArgs({
  options: {
    kubeconfig: { type: "string" },
    bridge: { type: "string", default: "cni0" },
    "volumes-dir": { type: "string" },
    "node-name": { type: "string", default: nodeName },
    "storage-class": { type: "string", default: "sandbox" },
  },
});
const { kubeconfig, bridge, "volumes-dir": volumesDir } = values;
if (kubeconfig === undefined || volumesDir === undefined) {
  process.stderr.write(
    "usage: node sandbox/cluster/node-agent/main.ts --kubeconfig FILE --volumes-dir DIR" +
      " [--bridge cni0] [--node-name NAME] [--storage-class sandbox]\n",
  );
  process.exit(2);
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    logToStdout(`node-agent: ${signal}, ending; the network rules stay`);
    process.exit(0);
  });
}

const kubeConfig = new KubeConfig();
kubeConfig.loadFromFile(kubeconfig);
await mkdir(volumesDir, { recursive: true, mode: 0o700 });

await startEnforcer(kubeConfig, bridge, logToStdout);
startVolumes(
  kubeConfig,
  {
    volumesDir: await realpath(volumesDir),
    nodeName: values["node-name"],
    storageClass: values["storage-class"],
  },
  logToStdout,
);
logToStdout("node-agent: started (a test fixture; IPv4 only)");
