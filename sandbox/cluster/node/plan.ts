import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { Layout } from "../../layout.ts";
import type { Run } from "../../run.ts";
import { components } from "./components.ts";
import { writeConfigFiles, writeWhole } from "./config-files.ts";
import { ensurePki } from "./pki.ts";

const need = z.union([z.object({ port: z.number() }), z.object({ socket: z.string() })]);

const planSchema = z.object({
  components: z.array(
    z.object({ name: z.string(), command: z.string(), args: z.array(z.string()), needs: z.array(need) }),
  ),
  /** Folders the node needs of the host, which the node's own mounts must not hide. */
  keep: z.array(z.string()),
  logs: z.string(),
  kubelet: z.string(),
  statusFile: z.string(),
  /** Tells this plan, and all the configuration it stands on, from any other. */
  fingerprint: z.string(),
});

/** All the supervisor has to know. It is handed over as a file, for the supervisor runs in namespaces of its own. */
export type Plan = z.infer<typeof planSchema>;

/** Path of the plan's file. */
export function planPath(layout: Layout): string {
  return join(layout.config, "plan.json");
}

/** Writes keys, configuration and plan. `kubernetes` is the folder of the built binaries. */
export async function writePlan(layout: Layout, kubernetes: string, run: Run): Promise<Plan> {
  await ensurePki(layout.pki, run);
  const texts = await writeConfigFiles(layout);
  const list = components(layout, kubernetes);
  const plan: Plan = {
    components: list.map(({ name, command, args, needs }) => ({
      name,
      command,
      args: [...args],
      needs: [...needs],
    })),
    keep: [layout.project, layout.cache, layout.data],
    logs: layout.logs,
    kubelet: layout.kubelet,
    statusFile: statusPath(layout),
    fingerprint: createHash("sha256")
      .update(JSON.stringify([list, texts]))
      .digest("hex"),
  };
  await writeWhole(planPath(layout), JSON.stringify(plan, undefined, 2));
  return plan;
}

/** Reads a plan back. Throws when the file is not one. */
export async function readPlan(path: string): Promise<Plan> {
  return planSchema.parse(JSON.parse(await readFile(path, "utf8")));
}

const statusSchema = z.array(
  z.object({ name: z.string(), running: z.boolean(), restarts: z.number(), since: z.string() }),
);

/** What the supervisor last said of each component. */
export type ComponentStatus = z.infer<typeof statusSchema>[number];

/** Path of the supervisor's report. */
export function statusPath(layout: Layout): string {
  return join(layout.config, "components.json");
}

/** Reads the supervisor's report; nothing when there is none. */
export async function readStatus(layout: Layout): Promise<readonly ComponentStatus[]> {
  try {
    return statusSchema.parse(JSON.parse(await readFile(statusPath(layout), "utf8")));
  } catch {
    return [];
  }
}
