import { z } from "zod";

import { sdkVersion, standInNames, type StandInName } from "./install.ts";
import { serve } from "./server.ts";

/** Each is loaded by its own process only: what tls and minio need takes a while to load. */
const start: Readonly<Record<StandInName, (version: string) => ReturnType<typeof serve>>> = {
  random: async (version) => serve((await import("./random.ts")).randomProvider, version),
  tls: async (version) => serve((await import("./tls.ts")).tlsProvider, version),
  minio: async (version) => serve((await import("./minio.ts")).minioProvider, version),
};

const { data: name } = z.enum(standInNames).safeParse(process.argv[2]);
if (name === undefined) {
  process.stderr.write(`usage: main.ts ${standInNames.join("|")} [engine's address]\n`);
  process.exit(2);
}
const { port } = await start[name](await sdkVersion(name));
process.stdout.write(`${port}\n`); // the engine reads the first line

// The engine ends its plugins; one that was killed can't.
const parent = process.ppid;
setInterval(() => {
  if (process.ppid !== parent) process.exit(0);
}, 1000).unref();
