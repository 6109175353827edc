import { readFileSync, writeFileSync } from "node:fs";

import { isMap, parseDocument } from "yaml";

/** Names an image by digest in a stack file, comments kept: node set-image.ts STACK KEY NAME@sha256:DIGEST */
const [stack = "", key = "", image = ""] = process.argv.slice(2);
if (!/^[^@\s]+@sha256:[0-9a-f]{64}$/.test(image))
  throw new Error(`"${image}" is not name@sha256:<64 hex digits>`);
const file = `Pulumi.${stack}.yaml`;
const document = parseDocument(readFileSync(file, "utf8"));
const images = document.getIn(["config", "geocrop-storage:images"]);
if (!isMap(images) || !images.has(key)) throw new Error(`${file} has no geocrop-storage:images.${key}`);
images.set(key, image);
writeFileSync(file, document.toString({ lineWidth: 0 }));
process.stdout.write(`${file}: ${key} is ${image}\n`);
