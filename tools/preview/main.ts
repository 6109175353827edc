import { parsePreviewCommand, previewHelp } from "./arguments.ts";
import { runCommand } from "./command.ts";
import { renderJson } from "./json.ts";
import { renderMarkdown } from "./markdown.ts";
import { preview } from "./preview.ts";
import { exitCodeOf } from "./report.ts";
import { renderText } from "./text.ts";

await runCommand("The preview", async () => {
  const command = parsePreviewCommand(process.argv.slice(2));
  if (command === undefined) {
    process.stdout.write(previewHelp);
    return 0;
  }
  const report = await preview(process.cwd(), command);
  const forms = {
    text: () => renderText(report, process.stdout.isTTY && process.env["NO_COLOR"] === undefined),
    markdown: () => renderMarkdown(report),
    json: () => renderJson(report),
  };
  process.stdout.write(forms[command.form]());
  return exitCodeOf(report);
});
