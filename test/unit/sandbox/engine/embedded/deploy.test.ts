import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import * as pulumi from "@pulumi/pulumi";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";

import { deploy, type Outputs } from "../../../../../sandbox/engine/embedded/deploy.ts";
import {
  duration,
  ResourceFault,
  Stopped,
  type Applied,
  type Declared,
  type Handler,
  type Location,
  type Mode,
  type Step,
} from "../../../../../sandbox/engine/embedded/monitor.ts";
import { State, type Recorded } from "../../../../../sandbox/engine/embedded/state.ts";
import { Redactor, type JsonObject } from "../../../../../sandbox/engine/embedded/values.ts";

const located = z.looseObject({ id: z.string() });

class Thing extends pulumi.CustomResource {
  declare readonly made: pulumi.Output<string>;

  constructor(name: string, inputs: pulumi.Inputs = {}, options: pulumi.CustomResourceOptions = {}) {
    super("fake:index:Thing", name, { made: undefined, ...inputs }, options);
  }
}

class Stranger extends pulumi.CustomResource {}

/** Live objects that are a map. */
class FakeServer implements Handler {
  readonly live = new Map<string, JsonObject>();
  readonly calls: string[] = [];
  readonly seen: Declared[] = [];
  /** What happens in the middle of making this one. */
  trouble: { readonly name: string; readonly act: () => void } | undefined;

  locate({ name, inputs }: Declared): Location {
    const id = typeof inputs["object"] === "string" ? inputs["object"] : name;
    return { id, target: { id } };
  }

  async apply(declared: Declared, { mode }: { mode: Mode }): Promise<Applied> {
    const { id } = this.locate(declared);
    this.seen.push(declared);
    const before = this.live.get(id);
    const change =
      before === undefined
        ? "create"
        : JSON.stringify(before) === JSON.stringify(declared.inputs)
          ? "same"
          : "update";
    if (mode !== "up") return { change, outputs: before === undefined ? {} : { made: id } };
    this.calls.push(`apply ${id}`);
    this.live.set(id, declared.inputs);
    if (this.trouble?.name === declared.name) this.trouble.act();
    return { change, outputs: { made: id } };
  }

  async remove({ target }: Recorded): Promise<void> {
    const { id } = located.parse(target);
    this.calls.push(`remove ${id}`);
    this.live.delete(id);
  }
}

let directory: string;
let server: FakeServer;
let steps: Step[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "geocrop-deploy-"));
  server = new FakeServer();
  steps = [];
});

afterEach(() => {
  rmSync(directory, { recursive: true });
});

function run(
  mode: Mode,
  program: () => unknown,
  signal: AbortSignal = new AbortController().signal,
): Promise<Outputs> {
  return deploy({
    mode,
    project: "p",
    stack: "s",
    config: { "p:greeting": "hello" },
    program: async () => program(),
    state: State.open(join(directory, "state.json"), "s"),
    handlers: { fake: server },
    redactor: new Redactor(),
    report: (step) => steps.push(step),
    note: () => undefined,
    signal,
  });
}

function changes(): string[] {
  return steps.map(({ change, name }) => `${change} ${name}`);
}

/** Nothing after the kill reaches the disk or the program: as good as dead. */
async function killedWhileMaking(name: string, program: () => unknown): Promise<void> {
  const stop = new AbortController();
  server.trouble = {
    name,
    act: () => {
      stop.abort();
      throw new Stopped("killed");
    },
  };
  await expect(run("up", program, stop.signal)).rejects.toThrow(Stopped);
  server.trouble = undefined;
  server.calls.length = 0;
  steps = [];
}

function twoThings(): void {
  const a = new Thing("a");
  void new Thing("b", { from: a.made });
}

function oneThing(): void {
  void new Thing("one", { size: 1 });
}

describe("up", () => {
  test("makes what is declared in the order of its edges, and hands outputs on", async () => {
    const outputs = await run("up", () => {
      const first = new Thing("first");
      const second = new Thing("second", { from: first.made });
      const third = new Thing("third", {}, { dependsOn: [second] });
      return { made: third.made, greeting: new pulumi.Config("p").require("greeting") };
    });
    expect(server.calls).toStrictEqual(["apply first", "apply second", "apply third"]);
    expect(server.live.get("second")).toStrictEqual({ from: "first" });
    expect(outputs).toStrictEqual({ made: { value: "third" }, greeting: { value: "hello" } });
  });

  test("changes nothing on a second run", async () => {
    await run("up", oneThing);
    steps = [];
    await run("up", oneThing);
    expect(changes()).toStrictEqual(["same one"]);
  });

  test("unwraps secrets for the handlers, and keeps outputs made of them secret", async () => {
    const outputs = await run("up", () => {
      const one = new Thing("one", {
        password: pulumi.secret("hunter22"),
        nested: { a: pulumi.secret("b") },
      });
      const two = new Thing("two", { copy: one.made }, { additionalSecretOutputs: ["made"] });
      return {
        open: one.made,
        secret: two.made,
        inside: pulumi.output(one).apply((resource) => Reflect.get(resource, "password")),
      };
    });
    expect(server.live.get("one")).toStrictEqual({ password: "hunter22", nested: { a: "b" } });
    expect(outputs["open"]).toStrictEqual({ value: "one" });
    expect(outputs["secret"]).toStrictEqual({ isSecret: true });
    expect(JSON.stringify(outputs)).not.toContain("hunter22");
  });

  test("deletes what is no longer declared at the end, last made first", async () => {
    await run("up", () => {
      const a = new Thing("a");
      const b = new Thing("b", {}, { dependsOn: [a] });
      return void new Thing("c", {}, { dependsOn: [b] });
    });
    server.calls.length = 0;
    await run("up", () => void new Thing("a"));
    expect(server.calls).toStrictEqual(["apply a", "remove c", "remove b"]);
    expect([...server.live.keys()]).toStrictEqual(["a"]);
  });

  test("deletes the old object of a resource that is another one now, after the new one stands", async () => {
    await run("up", () => void new Thing("a", { object: "old" }));
    server.calls.length = 0;
    await run("up", () => void new Thing("a", { object: "new" }));
    expect(server.calls).toStrictEqual(["apply new", "remove old"]);
  });

  test("does not delete what is protected, and forgets what is to be retained", async () => {
    await run("up", () => void new Thing("a", {}, { retainOnDelete: true }));
    await run("up", () => void new Thing("b", {}, { protect: true }));
    expect([...server.live.keys()]).toStrictEqual(["a", "b"]);
    await expect(run("up", () => undefined)).rejects.toThrow(
      /fake:index:Thing b: is protected from deletion/,
    );
    expect([...server.live.keys()]).toStrictEqual(["a", "b"]);
  });

  test("hands on the provider that a resource names", async () => {
    class Provider extends pulumi.ProviderResource {}
    await run("up", () => {
      const provider = new Provider("fake", "here", { password: pulumi.secret("hunter22") });
      return [new Thing("a", {}, { provider }), new Thing("b")];
    });
    expect(server.seen.map(({ name, provider }) => [name, provider])).toStrictEqual(
      expect.arrayContaining([
        ["a", { password: "hunter22" }],
        ["b", undefined],
      ]),
    );
  });
});

describe("a run that fails", () => {
  test("tells the first fault alone, attempts nothing after it, and deletes nothing", async () => {
    await run("up", () => void new Thing("old"));
    server.trouble = {
      name: "bad",
      act: () => {
        throw new Error("the disk is full");
      },
    };
    server.calls.length = 0;
    const failed = run("up", () => {
      const bad = new Thing("bad");
      const after = new Thing("after", { from: bad.made });
      return { one: after.made, two: bad.made };
    });
    await expect(failed).rejects.toThrow(new ResourceFault("fake:index:Thing bad: the disk is full"));
    expect(server.calls).toStrictEqual(["apply bad"]);
    expect([...server.live.keys()]).toStrictEqual(["old", "bad"]);
  });

  test("by a fault of the program tells that fault", async () => {
    const sync = run("up", () => {
      throw new pulumi.RunError("the key is wrong");
    });
    await expect(sync).rejects.toThrow("the key is wrong");
    const late = run("up", () => {
      const a = new Thing("a");
      return { out: a.made.apply(() => Promise.reject(new Error("no tunnel"))) };
    });
    await expect(late).rejects.toThrow("no tunnel");
  });

  test.each<[string, () => unknown, RegExp]>([
    [
      "an unknown type",
      () => new Stranger("other:index:Thing", "x"),
      /other:index:Thing x: the embedded deployer does not know this type/,
    ],
    [
      "an unknown function",
      () => pulumi.runtime.invoke("fake:index:get", {}),
      /fake:index:get: .* no provider functions/,
    ],
    ["an import", () => new Thing("x", {}, { import: "id" }), /neither imports nor reads/],
    ["the same name twice", () => [new Thing("x"), new Thing("x")], /fake:index:Thing x: is declared twice/],
  ])("%s is refused, never echoed", async (_what, program, message) => {
    await expect(run("up", program)).rejects.toThrow(message);
  });
});

describe("a run that is killed half-way", () => {
  test("is carried on from where it was", async () => {
    await killedWhileMaking("b", twoThings);
    await run("up", twoThings);
    expect(changes()).toStrictEqual(["same a", "same b"]);
  });

  test("has left nothing that later runs do not know of", async () => {
    await killedWhileMaking("b", twoThings);
    await run("up", () => void new Thing("a"));
    expect(server.calls).toStrictEqual(["apply a", "remove b"]);
  });
});

describe("preview", () => {
  test("tells what would be done, with unknowns where the server has not spoken yet, and touches nothing", async () => {
    await run("up", () => [new Thing("a", { size: 1 }), new Thing("gone")]);
    server.calls.length = 0;
    steps = [];
    await run("preview", () => {
      const a = new Thing("a", { size: 2 });
      const fresh = new Thing("b", { from: a.made });
      return { out: new Thing("c", { from: fresh.made }).made };
    });
    expect(changes()).toStrictEqual(["update a", "create b", "create c", "delete gone"]);
    expect(server.calls).toStrictEqual([]);
    expect(new Set(server.live.keys())).toStrictEqual(new Set(["a", "gone"]));
  });
});

describe("destroy", () => {
  test("deletes all, last made first, and reports nothing else", async () => {
    await run("up", twoThings);
    server.calls.length = 0;
    steps = [];
    await run("destroy", twoThings);
    expect(changes()).toStrictEqual(["delete b", "delete a"]);
    expect(State.open(join(directory, "state.json"), "s").entries()).toStrictEqual([]);
  });
});

test.each([
  ["90s", 90_000],
  ["1h30m", 5_400_000],
  ["", undefined],
  [undefined, undefined],
])("a time-out of %s is %s ms", (text, milliseconds) => {
  expect(duration(text)).toBe(milliseconds);
});
