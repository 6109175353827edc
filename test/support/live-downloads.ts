import { appendFile, readFile } from "node:fs/promises";
import { join } from "node:path";

import { ensureBase } from "../../sandbox/cluster/images/bases.ts";
import { layoutOf } from "../../sandbox/layout.ts";
import { runner } from "../../sandbox/run.ts";
import { startGateway, type Gateway } from "./download-gateway.ts";
import { startLiveApi, type LiveApi } from "./live-api.ts";
import { freePort } from "./minio-server.ts";

/** The API and the download gateway in front of a real MinIO: all that a user of the stack meets. */
export interface LiveDownloads extends LiveApi {
  gateway: Gateway;
}

/**
 * Starts them; `caFile` vouches for the gateway, too.
 *
 * @param settings - of the API
 * @param allowedOrigins - of the gateway
 */
export async function startLiveDownloads(
  settings: Record<string, string> = {},
  allowedOrigins: string[] = [],
): Promise<LiveDownloads> {
  const port = await freePort();
  const live = await startLiveApi({ DOWNLOAD_URL: `https://localhost:${port}`, ...settings });
  const gateway = await startGateway({
    base: await ensureBase("nginx", {
      cacheDir: layoutOf().cache,
      run: runner(new AbortController().signal),
    }),
    ca: live.minio.ca,
    upstream: `localhost:${new URL(live.minio.origin).port}`,
    port,
    allowedOrigins,
  });
  await appendFile(live.caFile, await readFile(join(gateway.tls, "tls.crt")));
  return {
    ...live,
    gateway,
    remove: async () => {
      await gateway.remove();
      await live.remove();
    },
  };
}
