import { describe, expect, test } from "vitest";
import { UsageError, parseCommand } from "../../../sandbox/arguments.ts";

describe("the sandbox's command line", () => {
  test.each([
    { args: [], command: { name: "up", keep: false, json: false } },
    {
      args: ["up", "--keep", "--json"],
      command: { name: "up", keep: true, json: true },
    },
    { args: ["status", "--json"], command: { name: "status", json: true } },
    { args: ["env"], command: { name: "env", json: false } },
    { args: ["down"], command: { name: "down", purge: false, cache: false, json: false } },
    {
      args: ["down", "--purge", "--cache"],
      command: { name: "down", purge: true, cache: true, json: false },
    },
    { args: ["logs"], command: { name: "logs", of: undefined, follow: false, lines: 50 } },
    {
      args: ["logs", "kubelet", "-f", "-n", "5"],
      command: { name: "logs", of: "kubelet", follow: true, lines: 5 },
    },
    { args: ["down", "--help"], command: { name: "help" } },
  ])("$args", ({ args, command }) => {
    expect(parseCommand(args)).toEqual(command);
  });

  test.each([
    { args: ["start"], message: 'unknown command "start"' },
    { args: ["status", "now"], message: 'unexpected argument "now"' },
    { args: ["env", "--purge"], message: '"env" does not take --purge' },
    { args: ["down", "--cache"], message: "--cache needs --purge" },
    { args: ["logs", "etcd", "--lines", "0"], message: '--lines is "0"' },
    { args: ["--purgee"], message: "--purgee" },
    // A name such as "constructor" must not be found on the table's prototype.
    { args: ["constructor"], message: 'unknown command "constructor"' },
  ])("$args is refused: $message", ({ args, message }) => {
    expect(() => parseCommand(args)).toThrow(UsageError);
    expect(() => parseCommand(args)).toThrow(message);
  });
});
