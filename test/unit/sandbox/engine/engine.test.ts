import { describe, expect, test } from "vitest";
import { EngineUnfit, chooseEngine } from "../../../../sandbox/engine/engine.ts";

const found = { command: "/usr/bin/pulumi" };
const absent = { missing: "there is none on the PATH" };

describe("the choice of an engine", () => {
  test.each([
    { asked: undefined, recorded: undefined, cli: found, name: "cli" },
    { asked: undefined, recorded: undefined, cli: absent, name: "embedded" },
    { asked: "cli", recorded: undefined, cli: found, name: "cli" },
    { asked: "embedded", recorded: undefined, cli: found, name: "embedded" },
    // A CLI that has come since does not take over what it knows nothing of.
    { asked: undefined, recorded: "embedded", cli: found, name: "embedded" },
    { asked: undefined, recorded: "cli", cli: found, name: "cli" },
  ] as const)("asked $asked, before $recorded: $name", ({ asked, recorded, cli, name }) => {
    expect(chooseEngine({ asked, recorded, cli }).name).toBe(name);
  });

  test("the embedded deployer says why there is no CLI", () => {
    expect(chooseEngine({ asked: undefined, recorded: undefined, cli: absent }).why).toContain(
      absent.missing,
    );
  });

  test.each([
    { asked: "embedded", recorded: "cli", cli: found, remedy: "--engine cli, or start afresh" },
    { asked: "cli", recorded: "embedded", cli: found, remedy: "down --purge" },
    { asked: undefined, recorded: "cli", cli: absent, remedy: "down --purge" },
    { asked: "cli", recorded: undefined, cli: absent, remedy: "pulumi.com/docs/install" },
  ] as const)(
    "asked $asked, before $recorded: refused with what to do",
    ({ asked, recorded, cli, remedy }) => {
      expect(() => chooseEngine({ asked, recorded, cli })).toThrow(EngineUnfit);
      expect(() => chooseEngine({ asked, recorded, cli })).toThrow(remedy);
    },
  );
});
