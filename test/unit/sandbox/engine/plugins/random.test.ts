import { afterAll, describe, expect, test } from "vitest";
import { z } from "zod";

import { randomProvider } from "../../../../../sandbox/engine/plugins/random.ts";
import { connect, declaredBySdk } from "./plugin-client.ts";

const randomString = "random:index/randomString:RandomString";
const randomPassword = "random:index/randomPassword:RandomPassword";
const plugin = await connect(randomProvider);
await plugin.configure({ version: "4.21.2" });

afterAll(plugin.close);

describe("the random stand-in has what the official SDK declares", () => {
  test.each([
    [randomString, "randomString", []],
    [randomPassword, "randomPassword", ["bcryptHash"]],
  ])("for %s", (token, file, notMade: readonly string[]) => {
    const official = declaredBySdk("random", file);
    const type = randomProvider.types[token];
    const made = (names: readonly string[]) => names.filter((name) => !notMade.includes(name)).toSorted();
    expect(official.inputs).toContain("length");
    expect(Object.keys(type?.inputs.shape ?? {}).toSorted()).toEqual(official.inputs.toSorted());
    expect(type?.computed).toEqual(made(official.computed));
    expect(type?.secrets).toEqual(made(official.secrets));
    expect(type?.replaceOnChange.toSorted()).toEqual(official.inputs.toSorted());
  });
});

describe("a random text", () => {
  test.each([
    ["the access keys' settings", { length: 12, special: false, lower: false }, /^[A-Z0-9]{12}$/],
    ["the passwords' settings", { length: 40, special: false }, /^[A-Za-z0-9]{40}$/],
    ["one kind", { length: 9, special: false, lower: false, upper: false }, /^[0-9]{9}$/],
    ["the old name of numeric", { length: 9, special: false, number: false, upper: false }, /^[a-z]{9}$/],
    ["other special characters", { length: 9, overrideSpecial: "~", minSpecial: 9 }, /^~{9}$/],
    [
      "empty special characters",
      { length: 30, overrideSpecial: "", minSpecial: 30 },
      /^[!@#$%&*()\-_=+[\]{}<>:?]{30}$/,
    ],
  ])("holds to %s", async (_what, inputs, form) => {
    const { values } = await plugin.create(randomString, inputs);
    expect(values["result"]).toMatch(form);
  });

  test("has at least as many of a kind as asked for, anywhere", async () => {
    const texts = await Promise.all(
      Array.from({ length: 50 }, async () => {
        const { values } = await plugin.create(randomString, { length: 8, minNumeric: 7, numeric: false });
        return z.string().parse(values["result"]);
      }),
    );
    for (const text of texts) expect(text.match(/\d/g)?.length).toBeGreaterThanOrEqual(7);
    expect(new Set(texts.map((text) => text.search(/\D/))).size).toBeGreaterThan(3);
  });

  test("is another one each time", async () => {
    const [a, b] = [
      await plugin.create(randomString, { length: 20 }),
      await plugin.create(randomString, { length: 20 }),
    ];
    expect(a.values["result"]).not.toBe(b.values["result"]);
  });

  test("is not made of nothing, nor shorter than its parts", async () => {
    const none = { length: 3, lower: false, upper: false, numeric: false, special: false };
    await expect(plugin.create(randomString, none)).rejects.toThrow("allow one");
    await expect(plugin.create(randomString, { length: 3, minLower: 4 })).rejects.toThrow("length is less");
  });

  test("tells its defaults, and is its own id; a password's id tells nothing", async () => {
    const { id, values, secret } = await plugin.create(randomString, { length: 5 });
    expect(values).toEqual({
      result: id,
      length: 5,
      lower: true,
      upper: true,
      special: true,
      numeric: true,
      number: true,
      minLower: 0,
      minUpper: 0,
      minNumeric: 0,
      minSpecial: 0,
    });
    expect([...secret]).toEqual([]);
    const password = await plugin.create(randomPassword, { length: 5 });
    expect(password.id).toBe("none");
    expect([...password.secret]).toEqual(["result"]);
  });

  test("is unknown in a preview", async () => {
    const { id, unknown, values } = await plugin.create(randomPassword, { length: 5 }, { isPreview: true });
    expect(id).toBe("");
    expect([...unknown]).toEqual(["result"]);
    expect(values).toMatchObject({ length: 5, special: true });
  });

  test("is kept until an input changes, which replaces it", async () => {
    const inputs = { length: 12, special: false, keepers: { generation: "1" } };
    const { values } = await plugin.create(randomString, inputs);
    const diff = (news: typeof inputs | object, unknown: string[] = []) =>
      plugin.diff(randomString, values, inputs, { ...news }, unknown);
    await expect(diff(inputs)).resolves.toEqual([]);
    await expect(diff({ ...inputs, length: 13 })).resolves.toEqual(["+-length"]);
    await expect(diff({ ...inputs, keepers: { generation: "2" } })).resolves.toEqual(["+-keepers"]);
    await expect(diff({ length: 12, special: false })).resolves.toEqual(["+-keepers"]);
    await expect(diff({ length: 12, keepers: inputs.keepers })).resolves.toEqual(["+-special"]);
    await expect(diff({ special: false, keepers: inputs.keepers }, ["length"])).resolves.toEqual([
      "+-length",
    ]);
  });

  test("stays at a refresh, and is imported by itself", async () => {
    const inputs = { length: 12 };
    const { id, values } = await plugin.create(randomString, inputs);
    const kept = await plugin.read(randomString, id, values, inputs);
    expect(kept).toMatchObject({ id, values, inputs });
    const imported = await plugin.read(randomString, "abc");
    expect(imported).toMatchObject({
      id: "abc",
      values: { result: "abc", length: 3 },
      inputs: { length: 3 },
    });
  });
});

describe("the random stand-in refuses", () => {
  test("an input that it does not know, by name, known or not", async () => {
    const expected = ['lenght: the sandbox\'s stand-in does not know the input "lenght"'];
    await expect(plugin.check(randomString, { length: 3, lenght: 4 })).resolves.toEqual(expected);
    await expect(plugin.check(randomString, { length: 3 }, ["lenght"])).resolves.toEqual(expected);
    await expect(plugin.check(randomString, { length: 3 })).resolves.toEqual([]);
  });

  test("a missing or a wrong input, by name; an unknown one is not judged yet", async () => {
    await expect(plugin.check(randomString, {})).resolves.toEqual([expect.stringMatching(/^length: /)]);
    await expect(plugin.check(randomString, { length: "3" })).resolves.toEqual([
      expect.stringMatching(/^length: /),
    ]);
    await expect(plugin.check(randomString, {}, ["length"])).resolves.toEqual([]);
  });

  test("a type that it does not know, by its token", async () => {
    await expect(plugin.check("random:index/randomPet:RandomPet", {})).rejects.toThrow(
      "does not know the type random:index/randomPet:RandomPet",
    );
  });

  test("a setting that it does not know, but none of the engine's own", async () => {
    await expect(plugin.checkConfig({ version: "4.21.2", seed: "1" })).resolves.toEqual([
      'seed: the sandbox\'s stand-in does not know the input "seed"',
    ]);
  });
});
