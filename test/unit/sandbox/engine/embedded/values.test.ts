import * as pulumi from "@pulumi/pulumi";
import { describe, expect, test } from "vitest";
import { z } from "zod";

import { hash, parseInputs, plain, Redactor } from "../../../../../sandbox/engine/embedded/values.ts";

const secret = (value: unknown) => ({
  [pulumi.runtime.specialSigKey]: pulumi.runtime.specialSecretSig,
  value,
});

const parse = () =>
  parseInputs(z.strictObject({ length: z.int() }), { length: "hunter22", extra: "hunter22" });

describe("inputs from the SDK", () => {
  test("come out of their secret wrappers at any depth, and tell which of them are secret", () => {
    const { values, secret: names } = plain({
      open: { list: [1, "two", null] },
      data: secret({ key: "v" }),
      deep: [{ one: secret("x") }],
    });
    expect(values).toStrictEqual({
      open: { list: [1, "two", null] },
      data: { key: "v" },
      deep: [{ one: "x" }],
    });
    expect([...names]).toStrictEqual(["data", "deep"]);
  });

  test("that are not plain data are refused by name", () => {
    expect(() => plain({ file: { f: () => 1 } })).toThrow('input "file" is not plain data');
  });

  test("hash alike whatever the order of their keys, but not of their lists", () => {
    expect(hash({ a: 1, b: { c: 2, d: 3 } })).toBe(hash({ b: { d: 3, c: 2 }, a: 1 }));
    expect(hash([1, 2])).not.toBe(hash([2, 1]));
  });

  test("that a handler would ignore are a fault, told without any value", () => {
    expect(parse).toThrow(/length/);
    expect(parse).toThrow(/extra/);
    expect(parse).not.toThrow(/hunter22/);
  });
});

test("learned secrets are blanked in any text, in base64 too; short ones would blank half of it", () => {
  const redactor = new Redactor();
  redactor.learn({ password: "correct horse", list: ["battery staple"], short: "1" });
  const encoded = Buffer.from("correct horse").toString("base64");
  expect(redactor.redact(`1: correct horse, ${encoded}, battery staple`)).toBe(
    "1: [secret], [secret], [secret]",
  );
});
