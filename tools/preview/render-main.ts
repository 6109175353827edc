import { parseRenderCommand, renderHelp } from "./arguments.ts";
import { runCommand } from "./command.ts";
import { renderStack, writeRendering } from "./render.ts";

await runCommand("Rendering", async () => {
  const command = parseRenderCommand(process.argv.slice(2));
  if (command === undefined) {
    process.stdout.write(renderHelp);
    return 0;
  }
  const files = await renderStack(process.cwd(), command.stack);
  writeRendering(command.out, files);
  process.stdout.write(`${files.size} objects of stack ${command.stack} written to ${command.out}\n`);
  return 0;
});
