import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { makeResult } from "../../sandbox/smoke-test/geotiff.ts";
import { runner } from "../../sandbox/run.ts";
import { cannotHave, ensureProgram } from "../support/debian.ts";
import { gatewayCannotRun } from "../support/download-gateway.ts";
import { type LiveDownloads, startLiveDownloads } from "../support/live-downloads.ts";

/** docs/api.md tells QGIS's users which dialogs to fill, and how: here they are filled, in QGIS itself. */
const packages: Readonly<Record<string, string>> = {
  "/usr/bin/gdal_translate": "gdal-bin",
  "/usr/bin/qgis": "qgis",
  // Runs the script that fills the dialogs.
  "/usr/lib/python3/dist-packages/qgis/core/__init__.py": "python3-qgis",
  // QGIS 3.22 crashes on Qt's "offscreen" platform, for want of a clipboard.
  "/usr/bin/Xvfb": "xvfb",
};
const skipped =
  gatewayCannotRun ??
  Object.keys(packages)
    .map(cannotHave)
    .find((reason) => reason !== undefined);

/** What test/support/qgis-user.py tells of a layer. */
interface Layer {
  readonly valid: boolean;
  readonly width: number;
  readonly height: number;
  readonly crs: string;
  /** SHA-256. */
  readonly pixels: string;
  /** How many there are on the map. */
  readonly colours: number;
}

describe.skipIf(skipped !== undefined)(`QGIS${skipped === undefined ? "" : ` (skipped: ${skipped})`}`, () => {
  const run = runner(new AbortController().signal);
  let directory: string;
  let live: LiveDownloads;
  let screen: ChildProcess;
  let display: string;
  let address: string;

  beforeAll(async () => {
    for (const [program, name] of Object.entries(packages)) await ensureProgram(program, name);
    directory = await mkdtemp(join(tmpdir(), "qgis-"));
    const server = spawn("Xvfb", "-displayfd 1 -screen 0 1280x1024x24 -nolisten tcp".split(" "), {
      stdio: ["ignore", "pipe", "ignore"],
    });
    screen = server;
    const [number]: Buffer[] = await once(server.stdout, "data");
    display = `:${String(number).trim()}`;
    live = await startLiveDownloads();
    await live.submit("job-123", "alice", await readFile(await makeResult(run, directory)));
    address = `${live.origin}/api/v1/results/job-123/result.tif`;
    await inQgis("no-token", { variables: { CURL_CA_BUNDLE: live.caFile } });
  });
  afterAll(async () => {
    screen.kill();
    await live.remove();
    await rm(directory, { recursive: true });
  });

  /** Starts QGIS, which ends when the task is done. */
  const inQgis = async (profile: string, task: Readonly<Record<string, unknown>>): Promise<void> => {
    const options = `--nologo --noversioncheck --noplugins --profiles-path ${join(directory, profile)}`;
    await promisify(execFile)("qgis", [...options.split(" "), "--code", "test/support/qgis-user.py"], {
      env: {
        PATH: process.env["PATH"],
        HOME: directory,
        XDG_RUNTIME_DIR: directory,
        TMPDIR: directory,
        DISPLAY: display,
        LC_ALL: "C.UTF-8",
        QGIS_TASK: JSON.stringify(task),
      },
    });
  };
  const openIn = async (profile: string, opened: string): Promise<Layer[]> => {
    const report = join(directory, `${profile}.json`);
    await inQgis(profile, { address: opened, report });
    return JSON.parse(await readFile(report, "utf8"));
  };

  const expected = async (): Promise<Layer> => {
    const raw = join(directory, "raw.bin");
    await run("gdal_translate", ["-q", "-of", "ENVI", join(directory, "result.tif"), raw]);
    const pixels = createHash("sha256")
      .update(await readFile(raw))
      .digest("hex");
    return { valid: true, width: 600, height: 500, crs: "EPSG:32736", pixels, colours: expect.any(Number) };
  };

  test("shows the result at the API's address, once the options name a file with the token", async () => {
    const headers = join(directory, "geocrop-headers");
    await writeFile(headers, `Authorization: Bearer ${await live.token("alice")}\n`, { mode: 0o600 });
    const variables = { GDAL_HTTP_HEADER_FILE: headers, CURL_CA_BUNDLE: live.caFile };
    await inQgis("token", { variables });
    const layers = await openIn("token", address);
    expect(layers).toEqual([await expected()]);
    expect(layers[0]?.colours).toBeGreaterThan(3);
  });

  test("shows nothing without the token", async () => {
    expect(await openIn("no-token", address)).toEqual([]);
  });

  test("shows the result at a URL from the API, without any token", async () => {
    const authorization = `Bearer ${await live.token("alice")}`;
    const { body } = await live.send(address.replace("result.tif", "download"), {
      headers: { authorization },
    });
    expect(await openIn("no-token", JSON.parse(body.toString()).url)).toEqual([await expected()]);
  });
});
