import { parse, stringify } from "yaml";
import { z } from "zod";
import { network } from "../layout.ts";

/** This cluster's facts, which the repository's stack file can't know. */
export interface StackFacts {
  /** References by digest, by image name. */
  readonly images: Readonly<Record<string, string>>;
  /** Where the API and the downloads are reached from the host. */
  readonly apiUrl: string;
  readonly downloadUrl: string;
  readonly storageClass: string;
  /** Ties the stack's secrets to their passphrase: from an earlier stack file, or from `pulumi stack init`. */
  readonly encryptionSalt: string | undefined;
}

const section = z.record(z.string(), z.unknown());
const stackSchema = z.looseObject({
  encryptionsalt: z.string().exactOptional(),
  config: z.looseObject({
    "geocrop-storage:namespace": z.string().exactOptional(),
    "geocrop-storage:images": section.exactOptional(),
    "geocrop-storage:minio": section.exactOptional(),
    "geocrop-storage:api": section.exactOptional(),
    "geocrop-storage:downloads": section.exactOptional(),
    "geocrop-storage:audit": section.exactOptional(),
  }),
});

/** The keys of the stack's `images` setting, and the names of the images that go there. */
const imageKeys = {
  minio: "minio",
  signedUrlApi: "signed-url-api",
  downloadGateway: "download-gateway",
  auditReceiver: "audit-receiver",
} as const;

/** Where the sandbox's API and downloads are. */
export const urls = {
  api: `https://${network.nodeAddress}:${String(network.apiNodePort)}`,
  downloads: `https://${network.nodeAddress}:${String(network.downloadNodePort)}`,
} as const;

/**
 * The stack file for this sandbox: the repository's, with this cluster's facts in their places.
 *
 * Throws when the text is no stack file or an image is missing.
 */
export function sandboxStackFile(repositoryText: string, facts: StackFacts): string {
  const stack = stackSchema.parse(parse(repositoryText));
  const { config } = stack;
  const images = Object.fromEntries(
    Object.entries(imageKeys).map(([key, name]) => {
      const reference = facts.images[name];
      if (reference === undefined) throw new Error(`the image ${name} was not built`);
      return [key, reference];
    }),
  );
  config["geocrop-storage:images"] = { ...config["geocrop-storage:images"], ...images };
  for (const [key, publicUrl] of [
    ["geocrop-storage:api", facts.apiUrl],
    ["geocrop-storage:downloads", facts.downloadUrl],
  ] as const) {
    config[key] = { ...config[key], publicUrl };
  }
  for (const key of ["geocrop-storage:minio", "geocrop-storage:audit"] as const) {
    config[key] = { ...config[key], storageClass: facts.storageClass };
  }
  const note = "# Written by `npm run sandbox` from the project's Pulumi.dev.yaml: changes here are lost.\n";
  const salt = facts.encryptionSalt === undefined ? {} : { encryptionsalt: facts.encryptionSalt };
  return note + stringify({ ...stack, ...salt });
}

/** What a stack file says of the namespace and the salt. */
export function readStackFile(text: string): { namespace: string; encryptionSalt: string | undefined } {
  const stack = stackSchema.parse(parse(text));
  return {
    namespace: stack.config["geocrop-storage:namespace"] ?? "geocrop",
    encryptionSalt: stack.encryptionsalt,
  };
}
