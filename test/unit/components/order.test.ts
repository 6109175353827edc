import { MockMonitor } from "@pulumi/pulumi/runtime/mocks.js";
import { afterEach, describe, expect, test, vi } from "vitest";

import { recordProgram } from "../../support/recorded-program.ts";

interface Declared {
  readonly type: string;
  readonly name: string;
  readonly custom: boolean;
  readonly protect: boolean;
  readonly retainOnDelete: boolean;
  /** Names of the resources that it waits for, by `dependsOn` or by its inputs. */
  readonly dependencies: readonly string[];
}

/** What the program asks the engine for, options included: the mocks see only a resource's inputs. */
async function declaredResources(stack: string, change: Record<string, unknown> = {}): Promise<Declared[]> {
  const register = vi.spyOn(MockMonitor.prototype, "registerResource");
  await recordProgram(stack, false, change);
  return register.mock.calls.map(([request]) => ({
    type: request.getType(),
    name: request.getName(),
    custom: request.getCustom(),
    protect: request.getProtect() ?? false,
    retainOnDelete: request.getRetainondelete() ?? false,
    dependencies: request.getDependenciesList().map((urn: string) => urn.split("::").at(-1) ?? urn),
  }));
}

function find(resources: readonly Declared[], name: string): Declared {
  const found = resources.find((resource) => resource.name === name);
  if (found === undefined) throw new Error(`the program declares no ${name}`);
  return found;
}

/** A resource's dependencies, theirs, and so on. */
function reachable(resources: readonly Declared[], from: Declared): Set<string> {
  const reached = new Set<string>();
  const open = [...from.dependencies];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (reached.has(name)) continue;
    reached.add(name);
    open.push(...(resources.find((resource) => resource.name === name)?.dependencies ?? []));
  }
  return reached;
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe("an identity's Secret", () => {
  test.each([
    ["geocrop-api-signer", 1],
    ["geocrop-worker", 3],
    ["geocrop-job-submitter", 3],
    ["geocrop-admin-provisioner-identity", 3],
  ])(
    "of %s in generation %i waits until MinIO has that key's user and its policy",
    async (name, generation) => {
      const resources = await declaredResources("dev", { "geocrop-storage:credentials": { generation } });
      const awaited = reachable(resources, find(resources, `${name}-credentials`));
      expect(awaited).toContain(`${name}-g${generation}`);
      expect(awaited).toContain(`${name}-g${generation}-policy`);
    },
  );
});

describe("the guard against destroy", () => {
  test.each([
    ["dev", false],
    ["prod", true],
  ])("of %s waits for everything, so that it goes first; protected: %s", async (stack, protect) => {
    const resources = await declaredResources(stack);
    const guard = find(resources, "geocrop-destroy-guard");
    expect(guard).toMatchObject({ custom: false, protect });
    const awaited = reachable(resources, guard);
    const free = resources.filter(({ custom, name }) => custom && name !== "cluster" && !awaited.has(name));
    expect(free.map(({ type, name }) => `${type} ${name}`)).toEqual([]);
  });
});

describe("a server's certificate", () => {
  test("stays in its Secret when another issuer takes over", async () => {
    const resources = await declaredResources("dev");
    const secrets = resources.filter(({ name }) => /^geocrop-certificates-.*-tls$/.test(name));
    expect(secrets).toHaveLength(4);
    expect(secrets.every(({ retainOnDelete }) => retainOnDelete)).toBe(true);
  });
});
