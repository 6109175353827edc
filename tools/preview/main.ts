import { runCommand, UsageError } from "../command-line.ts";
import { renderJson } from "./json.ts";
import { renderMarkdown } from "./markdown.ts";
import { preview } from "./preview.ts";
import { exitCodeOf } from "./report.ts";
import { stackName } from "./stack-name.ts";
import { renderText } from "./text.ts";

const usage = `Shows what a change does to a stack, without cluster, credentials, state, network or Pulumi CLI.

npm run preview -- --stack NAME    compares with where this branch left main
  --base REF                       compares with another revision
  --dirty                          takes the working tree as it is, uncommitted changes included
  --markdown | --json              for a pull request's comment; for programs
  --policy-config FILE             levels and settings of the policies, as Pulumi's --policy-pack-config

Exit code: 0 no change, 2 changes, 3 data at risk, 1 an error or a mandatory policy is broken. A wrong command line ends
with 2 as well, and prints no report.
`;

await runCommand({
  name: "preview",
  usage,
  options: {
    stack: { type: "string" },
    base: { type: "string" },
    dirty: { type: "boolean", default: false },
    markdown: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    "policy-config": { type: "string" },
  },
  run: async ({ stack, base, dirty, markdown, json, "policy-config": policyConfig }) => {
    if (markdown && json) throw new UsageError("--markdown and --json exclude each other");
    const report = await preview(process.cwd(), { stack: stackName(stack), base, dirty, policyConfig });
    process.stdout.write(
      markdown
        ? renderMarkdown(report)
        : json
          ? renderJson(report)
          : renderText(report, process.stdout.isTTY && process.env["NO_COLOR"] === undefined),
    );
    return exitCodeOf(report);
  },
});
