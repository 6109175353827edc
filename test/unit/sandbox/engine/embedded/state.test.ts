import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { lockState, State, type Recorded } from "../../../../../sandbox/engine/embedded/state.ts";

let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "geocrop-state-"));
  path = join(directory, "sub", "state.json");
});

afterEach(() => {
  rmSync(directory, { recursive: true });
});

function record(name: string): Recorded {
  return { type: "kubernetes:core/v1:Secret", name, id: `ns/${name}` };
}

describe("the state file", () => {
  test("is readable by its owner alone, even over a draft that was readable by all", () => {
    State.open(path, "dev").put("a", record("a"));
    writeFileSync(`${path}.tmp`, "left by a killed run", { mode: 0o644 });
    State.open(path, "dev").put("b", record("b"));
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(State.open(path, "dev").entries()).toHaveLength(2);
  });

  test("holds each change at once, so that a killed run finds all that it did", () => {
    const state = State.open(path, "dev");
    state.put("a", record("a"));
    expect(State.open(path, "dev").get("a")).toStrictEqual(record("a"));
    state.put("a", { ...record("a"), hash: "1" });
    expect(State.open(path, "dev").get("a")?.hash).toBe("1");
    state.remove("a");
    expect(State.open(path, "dev").get("a")).toBeUndefined();
  });

  test("is not written when nothing changes", () => {
    const state = State.open(path, "dev");
    state.put("a", record("a"));
    const { ino } = statSync(path);
    state.put("a", record("a"));
    state.reorder(["a"]);
    expect(statSync(path).ino).toBe(ino);
  });

  test("keeps the order of completion of the last run that got through", () => {
    const state = State.open(path, "dev");
    for (const key of ["a", "b", "c"]) state.put(key, record(key));
    state.reorder(["c", "a"]);
    expect(
      State.open(path, "dev")
        .entries()
        .map(([key]) => key),
    ).toStrictEqual(["b", "c", "a"]);
  });

  test("keeps an object that was left behind for another one until it is deleted", () => {
    const state = State.open(path, "dev");
    state.put("a", record("old"));
    state.retire("a");
    state.put("a", record("new"));
    expect(state.entries().map(([, { id }]) => id)).toStrictEqual(["ns/old", "ns/new"]);
  });

  test("is refused, with the way out, when damaged or another stack's", () => {
    State.open(path, "dev").put("a", record("a"));
    expect(() => State.open(path, "prod")).toThrow(
      /belongs to the stack "dev", not "prod": name another file/,
    );
    writeFileSync(path, readFileSync(path, "utf8").slice(0, 40));
    expect(() => State.open(path, "dev")).toThrow(/is damaged \(it is not JSON\).*Put a copy back/);
    writeFileSync(path, '{"version":1,"stack":"dev","records":[["a",{}]]}');
    expect(() => State.open(path, "dev")).toThrow(/is damaged \(at records\.0\.1\./);
  });
});

describe("the lock", () => {
  test("keeps a second deployer off until it is given back", () => {
    const release = lockState(path);
    expect(() => lockState(path)).toThrow(
      `another deployer (process ${process.pid}) works on this state: wait for it, or stop it`,
    );
    release();
    lockState(path)();
  });

  test("is taken over from a process that has ended, whoever has its number now", () => {
    const release = lockState(path);
    const content = readFileSync(`${path}.lock`, "utf8");
    writeFileSync(`${path}.lock`, content.replace(/ .*/, " 1"));
    expect(() => lockState(path)).not.toThrow();
    release();
  });
});
