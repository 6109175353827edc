import { type NodeRecord, runInNode } from "./node/host.ts";
import { nodeRun } from "./node/config-files.ts";
import type { Step } from "../progress.ts";
import type { Run } from "../run.ts";

/** An image as it was built: `geocrop.sandbox/NAME@sha256:...`, and the archive that holds it. */
export interface BuiltImage {
  readonly reference: string;
  readonly archive: string;
}

/** One line of the node's list of images. */
export interface StoredImage {
  readonly reference: string;
  readonly digest: string;
}

const registry = "geocrop.sandbox/";

/**
 * Puts images into the node's store, those that are not there yet. An archive bears a tag only, and there is no registry
 * to ask for a digest: so each gets its name by digest here, which is how the kubelet then finds it.
 */
export async function importImages(
  node: NodeRecord,
  images: readonly BuiltImage[],
  run: Run,
  step: Step,
): Promise<number> {
  const stored = await storedImages(node, run);
  let imported = 0;
  for (const { reference, archive } of images) {
    const { name, digest } = splitReference(reference);
    const tag = `${name}:dev`;
    const has = (wanted: string): boolean =>
      stored.some((image) => image.reference === wanted && image.digest === digest);
    if (has(reference) && has(tag)) continue;
    step.doing(`importing ${name}`);
    await ctr(node, run, ["images", "import", archive]);
    await ctr(node, run, ["images", "tag", "--force", tag, reference]);
    imported += 1;
  }
  return imported;
}

/**
 * Removes former versions of our own images. Others' images are left alone, and so are those that a pod names: it could
 * not start again without.
 */
export async function removeSupersededImages(
  node: NodeRecord,
  images: readonly BuiltImage[],
  inUse: readonly string[],
  run: Run,
): Promise<number> {
  const superseded = supersededBy(
    images.map(({ reference }) => reference),
    inUse,
    await storedImages(node, run),
  );
  if (superseded.length > 0) await ctr(node, run, ["images", "rm", ...superseded]);
  return superseded.length;
}

/**
 * Names, in the store, of images that newer ones have taken the place of: of a name we know, with another digest. The
 * kubelet's own name for such an image, by its configuration's digest, goes too, or its content would stay.
 */
export function supersededBy(
  wanted: readonly string[],
  inUse: readonly string[],
  stored: readonly StoredImage[],
): readonly string[] {
  const current = new Map(
    wanted.map((reference) => splitReference(reference)).map((it) => [it.name, it.digest]),
  );
  const used = new Set(inUse.map((reference) => reference.replace(/^.*@/, "")));
  const old = stored.filter(({ reference, digest }) => {
    const known = current.get(nameOf(reference));
    return known !== undefined && known !== digest && !used.has(digest);
  });
  const digests = new Set(old.map(({ digest }) => digest));
  return stored
    .filter(
      (image) => old.includes(image) || (image.reference.startsWith("sha256:") && digests.has(image.digest)),
    )
    .map(({ reference }) => reference);
}

/** Splits `NAME@DIGEST`. Throws when it is of another form. */
export function splitReference(reference: string): { name: string; digest: string } {
  const match = /^(.+)@(sha256:[0-9a-f]{64})$/.exec(reference);
  if (match?.[1] === undefined || match[2] === undefined) {
    throw new Error(`${reference} is no image by digest`);
  }
  return { name: match[1], digest: match[2] };
}

/** Reads what `ctr images ls` prints: a table with a heading. */
export function parseImageList(text: string): readonly StoredImage[] {
  return text
    .split("\n")
    .slice(1)
    .map((line) => line.split(/\s+/))
    .flatMap(([reference, , digest]) =>
      reference === undefined || digest === undefined ? [] : [{ reference, digest }],
    );
}

function nameOf(reference: string): string {
  if (!reference.startsWith(registry)) return "";
  return reference.replace(/[:@].*$/, "");
}

async function storedImages(node: NodeRecord, run: Run): Promise<readonly StoredImage[]> {
  return parseImageList((await ctr(node, run, ["images", "ls"])).stdout);
}

function ctr(node: NodeRecord, run: Run, args: readonly string[]) {
  return runInNode(node, run, "ctr", [
    "--address",
    nodeRun.containerdSocket,
    "--namespace",
    "k8s.io",
    ...args,
  ]);
}
