import { join } from "node:path";

import { runCommand } from "../command-line.ts";
import { renderStack, writeRendering } from "./render.ts";

const usage = `Writes the renderings of both stacks that test/unit/golden.test.ts compares with, for a commit that changes them.

npm run golden
`;

await runCommand({
  name: "golden",
  usage,
  options: {},
  run: async () => {
    for (const stack of ["dev", "prod"]) {
      const out = join("test/golden", stack);
      writeRendering(out, await renderStack(process.cwd(), stack));
      process.stdout.write(`${out} is up to date: look at git diff, and commit it\n`);
    }
    return 0;
  },
});
