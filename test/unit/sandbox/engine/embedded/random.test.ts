import { expect, test } from "vitest";
import { z } from "zod";

import type { Declared, Run } from "../../../../../sandbox/engine/embedded/monitor.ts";
import { randomValues } from "../../../../../sandbox/engine/embedded/random.ts";
import type { JsonObject } from "../../../../../sandbox/engine/embedded/values.ts";

const handler = randomValues();
const type = "random:index/randomPassword:RandomPassword";
const up: Run = { mode: "up", signal: new AbortController().signal, note: () => undefined };

function declared(inputs: JsonObject, recorded?: Declared["recorded"]): Declared {
  return { type, name: "pw", inputs, hash: "now", provider: undefined, timeout: undefined, recorded };
}

async function result(inputs: JsonObject): Promise<string> {
  return z.string().parse((await handler.apply(declared(inputs), up)).outputs["result"]);
}

test.each([
  [{ length: 40, special: false }, /^[A-Za-z0-9]{40}$/],
  [{ length: 20, special: false, upper: false }, /^[a-z0-9]{20}$/],
  [{ length: 16, special: false, upper: false, lower: false }, /^[0-9]{16}$/],
  [{ length: 16, upper: false, lower: false, number: false, overrideSpecial: "_-" }, /^[_-]{16}$/],
])("%j makes %s", async (inputs, pattern) => {
  expect(await result(inputs)).toMatch(pattern);
});

test("the least number of each kind is kept, in no fixed place", async () => {
  const inputs = { length: 8, minLower: 2, minUpper: 2, minNumeric: 2, minSpecial: 2 };
  const texts = await Promise.all(Array.from({ length: 50 }, () => result(inputs)));
  for (const text of texts) {
    expect(text.match(/[a-z]/g)).toHaveLength(2);
    expect(text.match(/[A-Z]/g)).toHaveLength(2);
    expect(text.match(/[0-9]/g)).toHaveLength(2);
  }
  expect(new Set(texts.map((text) => text.search(/[0-9]/))).size).toBeGreaterThan(1);
});

test.each([
  [{ length: 3, minLower: 2, minUpper: 2 }, /length is less than the sum/],
  [{ length: 8, upper: false, lower: false, numeric: false, special: false }, /switched off/],
  [{ length: 0 }, /length/],
  [{ length: 8, surprise: 1 }, /surprise/],
])("%j is refused", async (inputs, message) => {
  await expect(result(inputs)).rejects.toThrow(message);
});

test("a value stays until its inputs change", async () => {
  const kept = { type, name: "pw", id: "pw", generated: { result: "kept" } };
  const same = await handler.apply(declared({ length: 8 }, { ...kept, hash: "now" }), up);
  expect(same).toMatchObject({ change: "same", outputs: { result: "kept" } });
  const other = await handler.apply(declared({ length: 8 }, { ...kept, hash: "then" }), up);
  expect(other.change).toBe("replace");
  expect(other.outputs["result"]).not.toBe("kept");
});

test("a preview makes nothing; to destroy, the old value serves", async () => {
  const stale = { type, name: "pw", id: "pw", hash: "then", generated: { result: "kept" } };
  const preview = await handler.apply(declared({ length: 8 }), { ...up, mode: "preview" });
  expect(preview).toStrictEqual({ change: "create", outputs: {} });
  const destroy = await handler.apply(declared({ length: 8 }, stale), { ...up, mode: "destroy" });
  expect(destroy.outputs["result"]).toBe("kept");
});
