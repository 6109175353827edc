import { join } from "node:path";

import { runCommand } from "./command.ts";
import { renderStack, writeRendering } from "./render.ts";

/** Writes the renderings that `test/unit/golden.test.ts` compares with, for the commit of whoever changed them. */
await runCommand("Rendering", async () => {
  for (const stack of ["dev", "prod"]) {
    const out = join("test/golden", stack);
    writeRendering(out, await renderStack(process.cwd(), stack));
    process.stdout.write(`${out} is up to date: look at git diff, and commit it\n`);
  }
  return 0;
});
