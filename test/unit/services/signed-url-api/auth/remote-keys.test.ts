import { exportJWK, generateKeyPair } from "jose";
import { describe, expect, onTestFinished, test, vi } from "vitest";

import { createRemoteKeys } from "../../../../../services/signed-url-api/auth/remote-keys.ts";

const minute = 60_000;
const key = async (kid: string) => ({
  ...(await exportJWK((await generateKeyPair("ES256")).publicKey)),
  kid,
  alg: "ES256",
});
const [k1, k2] = [await key("k1"), await key("k2")];
const jwks = (...keys: object[]): string => JSON.stringify({ keys });

/** An issuer that can be told what to say, and a clock that stands still. */
function issuer(text: string | Error) {
  let now = 0;
  let asked = 0;
  const state = { text };
  const onChange = vi.fn<() => void>();
  const onError = vi.fn<(error: unknown) => void>();
  const keys = createRemoteKeys({
    fetchText: () => {
      asked += 1;
      return state.text instanceof Error ? Promise.reject(state.text) : Promise.resolve(state.text);
    },
    onChange,
    onError,
    now: () => now,
    refreshMs: Infinity,
  });
  onTestFinished(() => keys.stop());
  const find = async (kid: string) => keys.find({ alg: "ES256", kid }, { payload: "", signature: "" });
  const wait = (ms: number) => (now += ms);
  return { keys, find, wait, state, onChange, onError, asked: () => asked };
}

describe("an issuer's keys", () => {
  test("are fetched before anybody asks, and once for many askers", async () => {
    const { find, asked } = issuer(jwks(k1));
    expect(asked()).toBe(1);
    await Promise.all([find("k1"), find("k1"), find("k1")]);
    expect(asked()).toBe(1);
  });

  test("are fetched again for a key that is not among them, with a cool-down", async () => {
    const { find, wait, state, asked, onChange } = issuer(jwks(k1));
    await find("k1");
    state.text = jwks(k1, k2);
    await expect(find("k2")).rejects.toThrow("no applicable key");
    expect(asked()).toBe(1);
    wait(10_000);
    await expect(find("k2")).resolves.toBeDefined();
    expect(onChange).toHaveBeenCalledTimes(1);
    await Promise.all(Array.from({ length: 50 }, () => find("made-up").catch(() => undefined)));
    expect(asked()).toBe(2);
    wait(10_000);
    await Promise.all(Array.from({ length: 50 }, () => find("made-up").catch(() => undefined)));
    expect(asked()).toBe(3);
  });

  test("stay in use for an hour when the issuer fails, and not longer", async () => {
    const { find, wait, state, keys, onError } = issuer(jwks(k1));
    await find("k1");
    for (const text of [new Error("down"), "<html>", '{"keys":{}}', ""]) {
      state.text = text;
      wait(minute);
      await expect(find("unknown")).rejects.toThrow("no applicable key");
      await expect(find("k1")).resolves.toBeDefined();
    }
    expect(onError).toHaveBeenCalledTimes(4);
    expect(keys.age()).toBe(240);
    wait(56 * minute);
    await expect(find("k1")).resolves.toBeDefined();
    wait(1);
    await expect(find("k1")).rejects.toThrow("unavailable");
  });

  test("that are unavailable at the start are asked for again, with a cool-down", async () => {
    const { find, wait, state, asked } = issuer(new Error("down"));
    await expect(find("k1")).rejects.toThrow("unavailable");
    await expect(find("k1")).rejects.toThrow("unavailable");
    expect(asked()).toBe(1);
    state.text = jwks(k1);
    wait(10_000);
    await expect(find("k1")).resolves.toBeDefined();
  });

  test("that are withdrawn are gone, and what they vouched for is told to be forgotten", async () => {
    const { find, wait, state, onChange } = issuer(jwks(k1));
    await find("k1");
    state.text = jwks(k2);
    wait(10_000);
    await find("k2");
    await expect(find("k1")).rejects.toThrow("no applicable key");
    expect(onChange).toHaveBeenCalledTimes(1);
  });

  test("are refreshed by themselves", async () => {
    let asked = 0;
    const keys = createRemoteKeys({
      fetchText: () => Promise.resolve(jwks((asked += 1) > 3 ? k2 : k1)),
      onChange: () => undefined,
      onError: () => undefined,
      refreshMs: 2,
    });
    onTestFinished(() => keys.stop());
    await expect
      .poll(async () => {
        try {
          return await keys.find({ alg: "ES256", kid: "k2" }, { payload: "", signature: "" });
        } catch {
          return undefined;
        }
      })
      .toBeDefined();
  });
});
