import { readFileSync } from "node:fs";

import { describe, expect, test } from "vitest";

import { matchResources } from "../../../tools/preview/aliases.ts";
import { readOrder } from "../../../tools/program/project.ts";
import { recordProgram } from "../../../tools/program/record.ts";

/** The resources of a stack that was deployed at commit 0e9410d. Never brought up to date: this is what runs. */
function deployedUrns(stack: string): string[] {
  return JSON.parse(readFileSync(`test/golden/urns-${stack}.json`, "utf8"));
}

describe.each(["dev", "prod"])("a %s stack deployed before the move to this layout", (stack) => {
  test("has none of its resources deleted or replaced: each is still declared, by its URN or by an alias", async () => {
    const order = readOrder(process.cwd(), stack, "key");
    if (order === undefined) throw new Error(`Pulumi.${stack}.yaml is missing`);
    const { resources } = await recordProgram(process.cwd(), order);
    const deployed = new Set(deployedUrns(stack));
    const kept = new Set(matchResources(resources, deployed).values());
    expect([...deployed].filter((urn) => !kept.has(urn))).toEqual([]);
  });
});
