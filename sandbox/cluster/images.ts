import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { copyFile, mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { bundle, type Service } from "../../services/bundle.ts";
import { type Base, ensureBase, stamp } from "./images/bases.ts";
import type { Step } from "../progress.ts";
import type { Run } from "../run.ts";

interface Image {
  /** Its Containerfile, from the project's root. */
  readonly containerfile: string;
  /** What the Containerfile's BASE is. @default what it says itself */
  readonly base?: Base;
  /** What its stage "program" would make: file name to where that is had from here. */
  readonly program?: Readonly<
    Record<string, { readonly binary: keyof Binaries } | { readonly bundle: Service }>
  >;
}

/** The images of the stack, and the two that only the sandbox's node needs. */
const images = {
  minio: { containerfile: "images/minio.Containerfile", program: { minio: { binary: "minio" } } },
  "signed-url-api": {
    containerfile: "images/signed-url-api.Containerfile",
    base: "node",
    program: { "server.mjs": { bundle: "signed-url-api" } },
  },
  "audit-receiver": {
    containerfile: "images/audit-receiver.Containerfile",
    base: "node",
    program: { "server.mjs": { bundle: "audit-receiver" }, "trail.mjs": { bundle: "audit-trail" } },
  },
  "job-client": {
    containerfile: "images/job-client.Containerfile",
    base: "node",
    program: { "put.mjs": { bundle: "job-put" }, "idle.mjs": { bundle: "job-idle" } },
  },
  "download-gateway": { containerfile: "images/download-gateway.Containerfile", base: "nginx" },
  pause: {
    containerfile: "sandbox/cluster/images/pause.Containerfile",
    program: { pause: { binary: "catatonit" } },
  },
  coredns: {
    containerfile: "sandbox/cluster/images/coredns.Containerfile",
    program: { coredns: { binary: "coredns" } },
  },
} as const satisfies Readonly<Record<string, Image>>;

export type ImageName = keyof typeof images;

/** Paths of static binaries that go into images as they are. */
export interface Binaries {
  readonly minio: string;
  readonly coredns: string;
  readonly catatonit: string;
}

/** An image as an archive, ready for `ctr images import`. */
export interface BuiltImage {
  /** `geocrop.sandbox/<name>@sha256:...`; the archive also names it `geocrop.sandbox/<name>:dev`. */
  readonly reference: string;
  /** Of the manifest, `sha256:...`. */
  readonly digest: string;
  /** Path of the OCI archive. */
  readonly archive: string;
}

export interface BuildImagesOptions {
  /** Archives and bases are kept below its `images/`. */
  readonly cacheDir: string;
  /** The build's log goes below its `logs/`. */
  readonly dataDir: string;
  readonly binaries: Binaries;
  readonly run: Run;
  readonly progress: Step;
}

/** No registry's name: nothing can be pulled from it, whatever a pod asks for. */
const repository = "geocrop.sandbox";
const project = resolve(import.meta.dirname, "../..");
const baseContainerfile = join(project, "sandbox/cluster/images/base.Containerfile");

/**
 * Builds the images whose Containerfile, base or program changed, and leaves the others. The same input gives the same
 * digest. Needs root, buildah and mmdebstrap; no registry, and the package mirror only for a base the cache lacks.
 */
export async function buildImages(
  options: BuildImagesOptions,
): Promise<Readonly<Record<ImageName, BuiltImage>>> {
  const store = join(options.cacheDir, "images");
  // All that buildah keeps is below this folder, so that to remove it is all the cleaning up there is: its storage is
  // shared with nobody, and nothing is mounted, for no image has a RUN here and the storage driver is vfs.
  const work = join(store, `.work-${String(process.pid)}`);
  await mkdir(work, { recursive: true });
  await removeAbandonedWork(store);
  try {
    const build = imageBuilder(work, options);
    const one = async (name: ImageName): Promise<BuiltImage> => {
      const inputs = await gatherInputs(name, work, options);
      const folder = join(store, `${name}-${inputs.key}`);
      if (!existsSync(folder)) {
        options.progress.doing(`building image ${name}`);
        await build(name, inputs, folder);
        await removeFormer(store, name, basename(folder));
        options.progress.note(`built image ${name}`);
      }
      const digest = (await readFile(join(folder, "digest"), "utf8")).trim();
      return { reference: `${repository}/${name}@${digest}`, digest, archive: join(folder, "image.tar") };
    };
    return {
      minio: await one("minio"),
      "signed-url-api": await one("signed-url-api"),
      "audit-receiver": await one("audit-receiver"),
      "job-client": await one("job-client"),
      "download-gateway": await one("download-gateway"),
      pause: await one("pause"),
      coredns: await one("coredns"),
    };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** What a killed run left. Another run's folder is left alone while that run lives. */
async function removeAbandonedWork(store: string): Promise<void> {
  for (const name of await readdir(store)) {
    const pid = /^\.work-(\d+)$/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) await rm(join(store, name), { recursive: true });
  }
}

interface Inputs {
  /** Differs when anything that goes into the image does. */
  readonly key: string;
  /** Folder of the base's root, if the sandbox has to provide one. */
  readonly base: string | undefined;
  /** The files of the Containerfile's stage "program": name to path. */
  readonly program: Readonly<Record<string, string>>;
}

async function gatherInputs(
  name: ImageName,
  work: string,
  { cacheDir, binaries, run }: BuildImagesOptions,
): Promise<Inputs> {
  const image: Image = images[name];
  const base = image.base === undefined ? undefined : await ensureBase(image.base, { cacheDir, run });
  const parts = [await readFile(join(project, image.containerfile), "utf8")];
  if (base !== undefined) parts.push(await readFile(baseContainerfile, "utf8"), basename(base));
  const program: Record<string, string> = {};
  for (const [file, source] of Object.entries(image.program ?? {})) {
    if ("bundle" in source) {
      const path = join(work, "bundles", name, file);
      await bundle(source.bundle, path);
      program[file] = path;
      parts.push(file, await readFile(path, "utf8"));
    } else {
      program[file] = binaries[source.binary];
      parts.push(file, await stamp(binaries[source.binary]));
    }
  }
  const key = createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 16);
  return { key, base, program };
}

/** Runs buildah on a storage of its own below `work`. A base becomes an image once, when first needed. */
function imageBuilder(
  work: string,
  { dataDir, run }: BuildImagesOptions,
): (name: ImageName, inputs: Inputs, folder: string) => Promise<void> {
  const storage = [
    "--root",
    join(work, "storage"),
    "--runroot",
    join(work, "run"),
    "--storage-driver",
    "vfs",
  ];
  const emptyContext = join(work, "empty");
  const bases = new Set<string>();

  const buildah = (log: string, args: readonly string[]): Promise<unknown> =>
    run("buildah", [...storage, ...args], {
      env: { TMPDIR: work },
      logFile: join(dataDir, "logs", `image-${log}.log`),
    });

  /** `--timestamp` also sets every file's time, which makes the digest depend on nothing but content. */
  async function bud(
    tag: string,
    containerfile: string,
    program: string,
    args: readonly string[] = [],
  ): Promise<void> {
    await mkdir(emptyContext, { recursive: true });
    const fixed = ["--isolation=chroot", "--pull=never", "--timestamp=0", "--identity-label=false"];
    const given = [`--build-context=program=${program}`, `--file=${containerfile}`, `--tag=${tag}`];
    await buildah(tag.replace(/^.*\//, ""), ["bud", ...fixed, ...args, ...given, emptyContext]);
  }

  async function baseImage(folder: string): Promise<string> {
    const tag = `localhost/base/${basename(folder)}`;
    if (!bases.has(tag)) await bud(tag, baseContainerfile, folder);
    bases.add(tag);
    return tag;
  }

  return async (name, { base, program }, folder) => {
    const context = join(work, "programs", name);
    await mkdir(join(context, "out"), { recursive: true });
    await Promise.all(
      Object.entries(program).map(([file, path]) => copyFile(path, join(context, "out", file))),
    );
    const tag = `${repository}/${name}`;
    const args = base === undefined ? [] : [`--build-arg=BASE=${await baseImage(base)}`];
    await bud(tag, join(project, images[name].containerfile), context, args);

    const result = join(work, "results", name);
    await mkdir(result, { recursive: true });
    const archive = `oci-archive:${join(result, "image.tar")}:${tag}:dev`;
    await buildah(`${name}-push`, [
      "push",
      "--quiet",
      "--disable-compression",
      `--digestfile=${join(result, "digest")}`,
      tag,
      archive,
    ]);
    await rename(result, folder);
  };
}

/** Removes an image's former archives. */
async function removeFormer(store: string, name: ImageName, keep: string): Promise<void> {
  const former = (await readdir(store)).filter(
    (entry) => entry !== keep && /^(.*)-[0-9a-f]{16}$/.exec(entry)?.[1] === name,
  );
  await Promise.all(former.map((entry) => rm(join(store, entry), { recursive: true })));
}
