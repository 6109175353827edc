import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { lstat, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ensureBuilds } from "../../sandbox/cluster/builds.ts";
import {
  buildImages,
  type BuildImagesOptions,
  type BuiltImage,
  type ImageName,
} from "../../sandbox/cluster/images.ts";
import { layoutOf } from "../../sandbox/layout.ts";
import { runner } from "../../sandbox/run.ts";

const execute = promisify(execFile);

const skipped =
  process.getuid?.() !== 0
    ? "needs root"
    : ["buildah", "mmdebstrap", "catatonit"].every((command) => existsSync(`/usr/bin/${command}`))
      ? undefined
      : "needs the packages buildah, mmdebstrap and catatonit";

/** What shows that an image's program runs in the image's root, as the image's user. */
const proofs: Readonly<Record<ImageName, { readonly command: readonly string[]; readonly says: RegExp }>> = {
  minio: { command: ["/usr/bin/minio", "--version"], says: /^minio version/ },
  coredns: { command: ["/coredns", "-version"], says: /^CoreDNS-/ },
  pause: { command: ["/pause", "--version"], says: /catatonit/ },
  "download-gateway": { command: ["/usr/sbin/nginx", "-v"], says: /nginx version/ },
  "signed-url-api": { command: ["/usr/local/bin/node", "--check", "/app/server.mjs"], says: /^$/ },
  "audit-receiver": { command: ["/usr/local/bin/node", "--check", "/app/server.mjs"], says: /^$/ },
  "job-client": { command: ["/usr/local/bin/node", "--check", "/app/put.mjs"], says: /^$/ },
};

describe.skipIf(skipped !== undefined)(
  `the sandbox's images${skipped === undefined ? "" : `: ${skipped}`}`,
  () => {
    const notes: string[] = [];
    let options: BuildImagesOptions;
    let images: Readonly<Record<ImageName, BuiltImage>>;
    let directory: string;

    beforeAll(async () => {
      const layout = layoutOf();
      const run = runner(new AbortController().signal);
      const progress = { note: (text: string) => void notes.push(text), doing: () => undefined };
      const { minio, coredns } = await ensureBuilds(layout, run, progress);
      directory = await mkdtemp(join(tmpdir(), "images-"));
      const binaries = {
        minio: join(minio, "minio"),
        coredns: join(coredns, "coredns"),
        catatonit: "/usr/bin/catatonit",
      };
      options = { cacheDir: layout.cache, dataDir: directory, binaries, run, progress };
      images = await buildImages(options);
    });

    afterAll(async () => {
      await rm(directory, { recursive: true, force: true });
    });

    test("are left alone when nothing has changed, and leave nothing but themselves", async () => {
      notes.length = 0;
      expect(await buildImages(options)).toEqual(images);
      expect(notes).toEqual([]);
      const kept = await readdir(join(options.cacheDir, "images"));
      expect(kept.filter((name) => name !== "bases")).toHaveLength(Object.keys(images).length);
      expect(await readFile("/proc/mounts", "utf8")).not.toContain(join(options.cacheDir, "images"));
    });

    test("have the same digest when built again from the same input", async () => {
      const fresh = await buildImages({ ...options, cacheDir: join(directory, "cache") });
      const digests = (of: typeof images) => Object.values(of).map(({ digest }) => digest);
      expect(digests(fresh)).toEqual(digests(images));
    });

    test.each(Object.entries(proofs))(
      "%s runs as a user without rights, in a root without a shell",
      async (name, proof) => {
        const { archive, digest } = Object.entries(images).find(([key]) => key === name)?.[1] ?? {};
        const layout = join(directory, name);
        await execute("sh", ["-c", 'mkdir -p "$2/root" && tar xf "$1" -C "$2"', "sh", archive ?? "", layout]);
        const json = async (path: string): Promise<Record<string, unknown>> =>
          JSON.parse(await readFile(join(layout, path), "utf8"));

        expect(await json("index.json")).toMatchObject({
          manifests: [
            { digest, annotations: { "org.opencontainers.image.ref.name": `geocrop.sandbox/${name}:dev` } },
          ],
        });
        const manifest: Manifest = JSON.parse(await readFile(join(layout, blob(digest)), "utf8"));
        expect(await json(blob(manifest.config.digest))).toMatchObject({
          config: { User: name === "pause" ? "65535:65535" : "1000:1000" },
        });

        const root = join(layout, "root");
        for (const layer of manifest.layers)
          await execute("tar", ["xf", join(layout, blob(layer.digest)), "-C", root]);
        const files = await readdir(root, { recursive: true });
        const rights = await Promise.all(
          files.map(async (file) => (await lstat(join(root, file))).mode & 0o6000),
        );
        expect(rights.filter((mode) => mode !== 0)).toEqual([]);
        expect(files.filter((file) => /(^|\/)(sh|bash|dash|apt|dpkg|npm|resolv\.conf)$/.test(file))).toEqual(
          [],
        );
        const { stdout, stderr } = await execute("chroot", ["--userspec=1000:1000", root, ...proof.command]);
        expect(stdout + stderr).toMatch(proof.says);
      },
    );
  },
);

/** Where a digest's content is in an OCI archive. */
function blob(digest: unknown): string {
  return join("blobs/sha256", String(digest).replace("sha256:", ""));
}

interface Manifest {
  readonly config: { readonly digest: string };
  readonly layers: readonly { readonly digest: string }[];
}
