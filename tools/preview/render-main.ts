import { required, runCommand } from "../command-line.ts";
import { renderStack, writeRendering } from "./render.ts";
import { stackName } from "./stack-name.ts";

const usage = `Writes the stack's objects as YAML, one file each: kubernetes/ for kubectl, minio/ to read. Secrets are placeholders.

npm run render -- --stack NAME --out DIR

DIR is made; if it exists, it must be empty or hold an earlier rendering, which is replaced.
`;

await runCommand({
  name: "render",
  usage,
  options: { stack: { type: "string" }, out: { type: "string" } },
  run: async (values) => {
    const stack = stackName(values.stack);
    const out = required(values.out, "the folder to write to (--out DIR)");
    const files = await renderStack(process.cwd(), stack);
    writeRendering(out, files);
    process.stdout.write(`${files.size} objects of stack ${stack} written to ${out}\n`);
    return 0;
  },
});
