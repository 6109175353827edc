import { fileURLToPath } from "node:url";

import { build } from "esbuild";

/** What an image runs, by the name it has there: `node /app/<file>.mjs`. */
const entryPoints = {
  "signed-url-api": "signed-url-api/server.ts",
  "audit-receiver": "audit-receiver/server.ts",
  "audit-trail": "audit-receiver/audit-log-reader.ts",
  "job-put": "job-client/put.ts",
  "job-idle": "job-client/idle.ts",
} as const;

/** A service's program; the job client and the audit receiver have two. */
export type Service = keyof typeof entryPoints;

/**
 * Bundles one program and everything it imports into a single ES module, so that an image holds Node, one
 * file and no node_modules.
 *
 * @param service - which program
 * @param outfile - where to write it; must end in `.mjs`
 * @throws when an import can't be resolved or the program doesn't parse
 */
export const bundle = (service: Service, outfile: string): Promise<void> =>
  bundleFile(fileURLToPath(new URL(entryPoints[service], import.meta.url)), outfile);

/** The same for any program. */
export async function bundleFile(entryPoint: string, outfile: string): Promise<void> {
  await build({
    entryPoints: [entryPoint],
    outfile,
    bundle: true,
    platform: "node",
    target: "node24",
    format: "esm",
    // Fastify, pino and minio are CommonJS and require Node's own modules, which an ES module has no `require` for.
    banner: {
      js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);',
    },
    // Stack traces keep their function names; line numbers are the bundle's.
    keepNames: true,
    legalComments: "none",
    logLevel: "warning",
  });
}
