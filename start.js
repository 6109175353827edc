// What `pulumi` runs. It is JavaScript so that a Node that cannot run TypeScript can say so, and it loads the program
// afterwards, so that what is set here holds for all of it.
import module from "node:module";

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < 22 || (major === 22 && minor < 18)) {
  const { RunError } = await import("@pulumi/pulumi");
  throw new RunError(
    `Node 22.18 or later runs this program, and this is ${process.versions.node}: put a later one first on PATH, ` +
      'or use the one that `npm ci` installs: PATH="$PWD/node_modules/.bin:$PATH" pulumi preview',
  );
}

// The SDK takes a stack trace of each resource. To format it by source maps, which this program has none of, and to
// compile the program anew took a third of a preview without changes.
Error.prepareStackTrace = undefined;
module.enableCompileCache();

export const { namespace, minioEndpoint, buckets, apiUrl, downloadUrl } = await import("./index.ts");
