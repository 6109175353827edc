import { createHmac } from "node:crypto";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import type * as Pulumi from "@pulumi/pulumi";
import type { Alias as WireAlias } from "@pulumi/pulumi/proto/alias_pb.js";
import type {
  RegisterResourceOutputsRequest,
  RegisterResourceRequest,
  RegisterResourceResponse,
} from "@pulumi/pulumi/proto/resource_pb.js";

import { generatedOutputs } from "./generated.ts";
import {
  isObject,
  orderSchema,
  secret,
  stackType,
  unknown,
  urnOf,
  type Alias,
  type Answer,
  type Json,
  type JsonObject,
  type Order,
  type Recording,
  type Resource,
} from "./recording.ts";

// The program of a revision comes with its own SDK, and only with that does it talk.
const revisionRequire = createRequire(join(process.cwd(), "package.json"));
const pulumi: typeof Pulumi = revisionRequire("@pulumi/pulumi");

type Callback = (error: unknown, response?: RegisterResourceResponse) => void;

/** The part of the SDK's mock monitor that tells all there is to know of a resource; mocks see less. */
interface Monitor {
  registerResource(request: RegisterResourceRequest, callback: Callback): Promise<void>;
  registerResourceOutputs(request: RegisterResourceOutputsRequest, callback: Callback): void;
}

function isMonitor(value: unknown): value is Monitor {
  return typeof value === "object" && value !== null && "registerResource" in value;
}

/** Writes down what a program asks the engine for. Nothing is passed on: there is no engine. */
class Recorder {
  readonly #order: Order;
  readonly #resources: Resource[] = [];
  /** The mock monitor knows only a resource's nearest parent; these are the engine's names for its URNs. */
  readonly #urns = new Map<string, string>();
  #outputs: JsonObject = {};

  constructor(order: Order) {
    this.#order = order;
  }

  async record(): Promise<Recording> {
    const { project, stack, program, config, encrypted } = this.#order;
    pulumi.runtime.setAllConfig({ ...config }, [...encrypted]);
    // As in a first preview, what only a server can tell is unknown, and so nothing is done with it.
    await pulumi.runtime.setMocks(this.#mocks(), project, stack, true);
    const monitor: unknown = pulumi.runtime.getMonitor();
    if (!isMonitor(monitor)) throw new Error("the revision's Pulumi SDK has another kind of mocks");
    this.#listen(monitor);
    await pulumi.runtime.runInPulumiStack(() => import(pathToFileURL(program).href));
    await pulumi.runtime.disconnect();
    return { resources: this.#resources, outputs: this.#outputs };
  }

  #mocks(): Pulumi.runtime.Mocks {
    return {
      newResource: ({ type, name, inputs }) => {
        const { outputs, secret } = generatedOutputs(type, name, JSON.parse(JSON.stringify(inputs)));
        const state: Record<string, unknown> = { ...inputs };
        for (const [key, value] of Object.entries(outputs)) {
          state[key] = secret.includes(key) ? pulumi.secret(value) : value;
        }
        return { id: undefined, state };
      },
      call: ({ token }) => {
        throw new Error(`the program calls ${token}, which needs an engine with its providers`);
      },
    };
  }

  #listen(monitor: Monitor): void {
    const register = monitor.registerResource.bind(monitor);
    const registerOutputs = monitor.registerResourceOutputs.bind(monitor);
    monitor.registerResource = (request, callback) => {
      const resource = this.#read(request);
      if (resource.type !== stackType) this.#resources.push(resource);
      return register(request, (error, response) => {
        if (response !== undefined) this.#urns.set(response.getUrn(), resource.urn);
        callback(error, response);
      });
    };
    monitor.registerResourceOutputs = (request, callback) => {
      const [, , type] = this.#urn(request.getUrn()).split("::");
      if (type === stackType) this.#outputs = this.#plainObject(request.getOutputs()?.toJavaScript() ?? {});
      registerOutputs(request, callback);
    };
  }

  #read(request: RegisterResourceRequest): Resource {
    const { stack, project } = this.#order;
    const type = request.getType();
    const name = request.getName();
    const parent = this.#urn(request.getParent());
    const inputs = this.#plainObject(request.getObject()?.toJavaScript() ?? {}, type);
    // The engine keeps the plugin's version among a provider's inputs.
    const version = request.getVersion();
    return {
      urn: urnOf(stack, project, parent, type, name),
      type,
      name,
      parent,
      custom: request.getCustom(),
      // A reference is a provider's URN and its id.
      provider: this.#urn(request.getProvider().split("::").slice(0, 4).join("::")),
      inputs: type.startsWith("pulumi:providers:") && version !== "" ? { ...inputs, version } : inputs,
      propertyDependencies: this.#propertyDependencies(request),
      protect: request.getProtect() ?? false,
      retainOnDelete: request.getRetainondelete() ?? false,
      ignoreChanges: request.getIgnorechangesList(),
      replaceOnChanges: request.getReplaceonchangesList(),
      aliases: request.getAliasesList().map((alias) => this.#alias(alias)),
    };
  }

  #propertyDependencies(request: RegisterResourceRequest): Record<string, string[]> {
    const dependencies: Record<string, string[]> = {};
    request.getPropertydependenciesMap().forEach((urns, property) => {
      dependencies[property] = urns
        .getUrnsList()
        .map((urn) => this.#urn(urn))
        .toSorted();
    });
    return dependencies;
  }

  #alias(alias: WireAlias): Alias {
    const spec = alias.getSpec();
    if (spec === undefined) return { urn: alias.getUrn() };
    return {
      ...(spec.getName() === "" ? {} : { name: spec.getName() }),
      ...(spec.getType() === "" ? {} : { type: spec.getType() }),
      ...(spec.getNoparent() ? { parent: "" } : {}),
      ...(spec.getParenturn() === "" ? {} : { parent: this.#urn(spec.getParenturn()) }),
    };
  }

  #urn(mocked: string): string {
    return this.#urns.get(mocked) ?? mocked;
  }

  #plainObject(value: unknown, type?: string): JsonObject {
    const plain = this.#plain(value, type === "kubernetes:core/v1:Secret");
    return isObject(plain) ? plain : {};
  }

  /** Takes a value out of the SDK's wire format. No secret gets through, only a digest to compare it by. */
  #plain(value: unknown, keepsKeys: boolean): Json {
    if (value === pulumi.runtime.unknownValue) return unknown;
    if (Array.isArray(value)) return value.map((item: unknown) => this.#plain(item, keepsKeys));
    if (typeof value !== "object" || value === null) return scalar(value);
    const fields: Record<string, unknown> = { ...value };
    if (fields[pulumi.runtime.specialSigKey] === pulumi.runtime.specialSecretSig) {
      return this.#mask(fields["value"], keepsKeys);
    }
    return Object.fromEntries(
      Object.entries(fields).map(([key, item]) => [key, this.#plain(item, keepsKeys)]),
    );
  }

  /** The keys of a Kubernetes Secret are what pods mount it by, and so no secret themselves. */
  #mask(value: unknown, keepsKeys: boolean): Json {
    if (keepsKeys && typeof value === "object" && value !== null && !Array.isArray(value)) {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, this.#mask(item, false)]));
    }
    if (value === pulumi.runtime.unknownValue) return unknown;
    return secret(createHmac("sha256", this.#order.key).update(JSON.stringify(value)).digest("base64url"));
  }
}

function scalar(value: unknown): Json {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean" ? value : null;
}

async function answer(message: unknown): Promise<Answer> {
  try {
    return { recording: await new Recorder(orderSchema.parse(message)).record() };
  } catch (error) {
    return { fault: describe(error) };
  }
}

/** What the user has to mend is said in a sentence; a fault in the program, with its place. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.name === "RunError" || error.stack === undefined ? error.message : error.stack;
}

const reply = (message: Answer) => process.send?.(message, () => process.exit(0));

// What goes wrong inside an Output comes out here.
process.on("unhandledRejection", (error) => reply({ fault: describe(error) }));
// Nobody waits for the answer any more.
process.once("disconnect", () => process.exit(1));
process.once("message", (message) => void answer(message).then(reply));
