import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { copyFile, mkdir, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Run } from "../../run.ts";

/** A root file system that stands in for a public base image, by what it is for. */
export type Base = "node" | "nginx";

/** What a base has from the distribution; apt adds what these depend on. */
const packages: Readonly<Record<Base, string>> = { node: "libstdc++6", nginx: "nginx-light" };

/** Node is the project's own, which runs this; its program goes where the public image has it. */
const node = { from: process.execPath, to: "usr/local/bin/node" };

/** mmdebstrap's own way to a /lib that is /usr/lib, when none of the packages that set it up is included. */
const mergedUsrHook = "/usr/share/mmdebstrap/hooks/merged-usr";

/** Where the bases are and how they come about. */
export interface BaseOptions {
  readonly cacheDir: string;
  readonly run: Run;
}

/**
 * The folder of a base, which is made from this machine's own package sources if the cache has none. It stays until
 * the cache is emptied, whatever updates appear: it serves trials on this machine only.
 */
export async function ensureBase(base: Base, { cacheDir, run }: BaseOptions): Promise<string> {
  const bases = join(cacheDir, "images/bases");
  const prune = join(import.meta.dirname, "prune-base.sh");
  const suite = await distribution();
  const inputs = [suite, process.arch, packages[base], await readFile(prune, "utf8")];
  if (base === "node") inputs.push(await stamp(node.from));
  const key = createHash("sha256").update(JSON.stringify(inputs)).digest("hex").slice(0, 16);
  const folder = join(bases, `${base}-${key}`);
  if (existsSync(folder)) return folder;

  const part = join(bases, `.part-${base}`);
  await mkdir(bases, { recursive: true });
  await rm(part, { recursive: true, force: true });
  try {
    const args = [
      "--quiet",
      "--variant=extract",
      `--hook-dir=${mergedUsrHook}`,
      `--include=${packages[base]}`,
    ];
    await run("mmdebstrap", [...args, suite, part, ...(await packageSources(suite, run))]);
    await run("sh", [prune, part]);
    if (base === "node") {
      await mkdir(dirname(join(part, node.to)), { recursive: true });
      await copyFile(node.from, join(part, node.to));
    }
    await rename(part, folder);
  } finally {
    await rm(part, { recursive: true, force: true });
  }
  const former = (await readdir(bases)).filter(
    (name) => name.startsWith(`${base}-`) && name !== `${base}-${key}`,
  );
  await Promise.all(former.map((name) => rm(join(bases, name), { recursive: true })));
  return folder;
}

/** Tells a binary from its successor; to hash 300 MB at each start would take longer than all the rest. */
export async function stamp(path: string): Promise<string> {
  const { size, mtimeMs } = await stat(path);
  return `${basename(path)} ${String(size)} ${String(mtimeMs)}`;
}

/** Debian's or Ubuntu's name for this machine's release. */
async function distribution(): Promise<string> {
  const release = await readFile("/etc/os-release", "utf8");
  const codename = /^VERSION_CODENAME="?([a-z]+)"?$/m.exec(release)?.[1];
  if (codename === undefined) {
    throw new Error(
      "/etc/os-release names no VERSION_CODENAME: the sandbox's images are made on Debian or Ubuntu only",
    );
  }
  return codename;
}

/** The files that name the distribution's own package sources, so that a mirror set up on this machine is used. */
async function packageSources(suite: string, run: Run): Promise<readonly string[]> {
  const format = "$(ORIGIN)|$(CODENAME)|$(SOURCESENTRY)";
  const { stdout } = await run("apt-get", ["indextargets", "--format", format, "Created-By: Packages"]);
  const files = stdout
    .split("\n")
    .map((line) => line.split("|"))
    .filter(([origin = "", codename = ""]) => /^(Debian|Ubuntu)$/.test(origin) && codename.startsWith(suite))
    .flatMap(([, , entry]) => entry?.replace(/:\d+$/, "") ?? []);
  return [...new Set(files)];
}
