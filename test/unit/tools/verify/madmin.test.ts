import { expect, test } from "vitest";

import { openSealed } from "../../../../tools/verify/madmin.ts";
import { seal } from "../../../../tools/verify/madmin.ts";

test.each([0, 1, 16_383, 16_384, 16_385, 40_000])("opens what was sealed, %i bytes of it", (length) => {
  const plain = Buffer.alloc(length, "geocrop");
  expect(openSealed("secret", seal("secret", plain)).equals(plain)).toBe(true);
});

test("opens what madmin-go itself sealed", () => {
  expect(openSealed("a-secret-key", Buffer.from(sealedByGo, "base64")).toString("utf8")).toBe(
    '{"sealed":"by Go"}',
  );
});

test.each([
  ["another secret", (sealed: Buffer) => [sealed, "other"] as const],
  [
    "a byte changed",
    (sealed: Buffer) => [Buffer.concat([sealed.subarray(0, -1), Buffer.from("?")]), "secret"] as const,
  ],
  ["its end cut off", (sealed: Buffer) => [sealed.subarray(0, 41 + 16_384 + 16), "secret"] as const],
  ["nothing at all", () => [Buffer.alloc(0), "secret"] as const],
])("refuses %s", (_, spoil) => {
  const [sealed, secret] = spoil(seal("secret", Buffer.alloc(20_000)));
  expect(() => openSealed(secret, sealed)).toThrow(/authenticate|not sealed/);
});

const sealedByGo =
  "P/bax8S7PTjYOSdDinCmIi0zHVbYk8Ef8r3hg5+v20cA8CpU/WYpO3i0gMkP33CFRWmeOb5QKvwOwGimpnWMRpuFwREkEgfnSmRM";
