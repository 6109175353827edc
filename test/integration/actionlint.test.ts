import { readdirSync } from "node:fs";
import { resolve } from "node:path";

import { expect, test } from "vitest";

import { command } from "../support/preview-repo.ts";

const hasGo = await command("go", ["version"], ".").then(
  ({ code }) => code === 0,
  () => false,
);

test.skipIf(!hasGo)(
  "actionlint finds nothing in the workflows (built by go, which must be there)",
  async () => {
    const workflows = readdirSync(".github/workflows").map((file) => resolve(".github/workflows", file));
    expect(workflows.length).toBeGreaterThan(4);
    const outcome = await command(
      "go",
      ["tool", "actionlint", "-no-color", ...workflows],
      "sandbox/tools/actionlint",
    );
    expect(outcome).toMatchObject({ code: 0, stdout: "" });
  },
);
