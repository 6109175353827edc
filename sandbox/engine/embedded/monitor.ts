import * as pulumi from "@pulumi/pulumi";

import type { Recorded, State } from "./state.ts";
import { hash, plain, type JsonObject, type Redactor } from "./values.ts";

export type Mode = "up" | "preview" | "destroy";
export type Change = "create" | "update" | "replace" | "same";

/** One resource, as the program declares it. */
export interface Declared {
  readonly type: string;
  readonly name: string;
  /** Without secret wrappers. */
  readonly inputs: JsonObject;
  readonly hash: string;
  /** The inputs of the provider resource that it names; undefined for the default provider. */
  readonly provider: JsonObject | undefined;
  /** How long the object may take to get ready, in milliseconds. */
  readonly timeout: number | undefined;
  /** What the last run left, if it is still the same object. */
  readonly recorded: Recorded | undefined;
}

/** Where the object of a resource is to be found: enough to delete it. */
export interface Location {
  readonly id: string;
  readonly target?: JsonObject;
}

/** What became of a resource. */
export interface Applied {
  readonly change: Change;
  /** Properties beyond the inputs. In a preview, what is left out counts as not known yet. */
  readonly outputs: JsonObject;
  /** Values to keep: see {@link Recorded}. */
  readonly generated?: JsonObject;
}

/** What a handler may know of the run that it is part of. */
export interface Run {
  readonly mode: Mode;
  /** Ends waits; work that is under way is finished. */
  readonly signal: AbortSignal;
  /** Says why something takes long. */
  note(text: string): void;
}

/** Acts on the live objects of one provider. */
export interface Handler {
  locate(declared: Declared): Location;
  /** Makes the live object what is declared, or, unless the run's mode is "up", only says what it would do. */
  apply(declared: Declared, run: Run): Promise<Applied>;
  /** Deletes the object; it is no fault if it is gone already. */
  remove(recorded: Recorded, provider: JsonObject | undefined, run: Run): Promise<void>;
}

/** A finished step, for the report. */
export interface Step {
  readonly change: Change | "delete" | "forget";
  readonly type: string;
  readonly name: string;
  readonly milliseconds: number;
}

/** The run was stopped from outside, or by the failure of another resource. */
export class Stopped extends Error {}

/** What went wrong with one resource: its message names it, and says all there is to know. */
export class ResourceFault extends Error {}

/** Waits; @throws {@link Stopped} when the run is stopped meanwhile. */
export async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  signal.addEventListener("abort", () => resolve(), { once: true });
  await promise;
  clearTimeout(timer);
  if (signal.aborted) throw new Stopped("stopped");
}

/** Milliseconds of a Pulumi time-out ("90s", "5m", "1h30m"). */
export function duration(text: string | undefined): number | undefined {
  if (text === undefined || text === "") return undefined;
  const unit = { h: 3_600_000, m: 60_000, s: 1000 };
  let total = 0;
  for (const [, amount, name] of text.matchAll(/(\d+(?:\.\d+)?)([hms])/g)) {
    total += Number(amount) * (name === "h" ? unit.h : name === "m" ? unit.m : unit.s);
  }
  return total > 0 ? total : undefined;
}

interface MonitorOptions {
  readonly mode: Mode;
  readonly state: State;
  /** By the first part of the type token. */
  readonly handlers: Readonly<Record<string, Handler>>;
  readonly redactor: Redactor;
  readonly report: (step: Step) => void;
  readonly note: (text: string) => void;
}

const never = <T>(): Promise<T> => Promise.withResolvers<T>().promise;

/**
 * Answers the SDK in the engine's stead. The SDK itself sees to the order: it asks for a resource once all that
 * the resource depends on is there. A question that fails is never answered, nor is any later one, so the program
 * goes no further and `failure` tells of the first fault alone.
 */
export class Monitor implements pulumi.runtime.Mocks, Run {
  readonly mode: Mode;
  /** Rejects with the first fault. */
  readonly failure: Promise<never>;
  /** Keys of what the program declared, in the order of completion. */
  readonly completed: string[] = [];
  readonly note: (text: string) => void;

  readonly #options: MonitorOptions;
  readonly #reject: (error: unknown) => void;
  readonly #abort = new AbortController();
  readonly #declared = new Set<string>();
  readonly #underWay = new Set<Promise<boolean>>();
  readonly #providers = new Map<string, JsonObject>();
  readonly #resourceOptions = new Map<string, pulumi.CustomResourceOptions>();

  constructor(options: MonitorOptions) {
    const { promise, reject } = Promise.withResolvers<never>();
    promise.catch(() => undefined); // whoever races against it sees it; nobody else has to
    this.failure = promise;
    this.mode = options.mode;
    this.note = options.note;
    this.#reject = reject;
    this.#options = options;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Takes no more work and ends the waits. */
  stop(why: unknown): void {
    this.#reject(why);
    this.#abort.abort();
  }

  /** Resolves when nothing is under way any more. */
  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }

  /**
   * Mocks are not told of a resource's options; a stack transformation sees them all.
   * To be called inside the stack, before the program.
   */
  watchOptions(): void {
    pulumi.runtime.registerStackTransformation(({ type, name, opts }) => {
      this.#resourceOptions.set(`${type}::${name}`, opts);
      return undefined;
    });
  }

  newResource(args: pulumi.runtime.MockResourceArgs): Promise<pulumi.runtime.MockResourceResult> {
    return this.#answer(`${args.type} ${args.name}`, () => this.#resource(args));
  }

  call(args: pulumi.runtime.MockCallArgs): Promise<pulumi.runtime.MockCallResult> {
    return this.#answer(args.token, () => {
      throw new Error("the embedded deployer knows no provider functions: use the Pulumi CLI");
    });
  }

  /** Deletes what is recorded and, unless `all`, no longer declared; last made, first deleted. */
  async prune(all: boolean): Promise<void> {
    const { state } = this.#options;
    const doomed = state.entries().filter(([key]) => all || !this.#declared.has(key));
    for (const [key, recorded] of doomed.toReversed()) {
      if (this.signal.aborted) throw new Stopped("stopped");
      await this.#answer(`${recorded.type} ${recorded.name}`, () => this.#remove(key, recorded));
    }
  }

  async #answer<T>(what: string, work: () => Promise<T>): Promise<T> {
    if (this.signal.aborted) return never();
    const answer = (async () => work())(); // a work that throws at once is no exception here
    const settled: Promise<boolean> = answer
      .catch(() => undefined)
      .then(() => this.#underWay.delete(settled));
    this.#underWay.add(settled);
    try {
      return await answer;
    } catch (error) {
      if (!(error instanceof Stopped)) {
        const message = error instanceof Error ? error.message : String(error);
        this.stop(new ResourceFault(`${what}: ${message}`, { cause: error }));
      }
      return never<T>();
    }
  }

  async #resource(args: pulumi.runtime.MockResourceArgs): Promise<pulumi.runtime.MockResourceResult> {
    const { type, name } = args;
    if (args.custom !== true) return { id: undefined, state: args.inputs };
    if (args.id !== undefined && args.id !== "") {
      throw new Error("the embedded deployer neither imports nor reads existing objects: use the Pulumi CLI");
    }
    const key = `${type}::${name}`;
    if (this.#declared.has(key)) throw new Error("is declared twice: give one of them another name");
    this.#declared.add(key);

    const { values, secret, unknown } = plain(args.inputs);
    const { redactor } = this.#options;
    for (const input of secret) redactor.learn(values[input]);
    if (type.startsWith("pulumi:providers:")) {
      this.#providers.set(key, values);
      return { id: key, state: args.inputs };
    }

    const options = this.#resourceOptions.get(key) ?? {};
    const { id, outputs } = await this.#apply(key, args, values, unknown.size > 0, options);
    const secretOutputs = new Set([...secret, ...(options.additionalSecretOutputs ?? [])]);
    const state: Record<string, unknown> = {};
    for (const [property, value] of Object.entries({ ...values, ...outputs })) {
      const isSecret = secretOutputs.has(property);
      if (isSecret) redactor.learn(value);
      state[property] = isSecret ? pulumi.secret(value) : value;
    }
    return { id, state };
  }

  async #apply(
    key: string,
    { type, name, provider }: pulumi.runtime.MockResourceArgs,
    inputs: JsonObject,
    isPartial: boolean,
    options: pulumi.CustomResourceOptions,
  ): Promise<{ id: string | undefined; outputs: JsonObject }> {
    const { state, report, mode } = this.#options;
    const handler = this.#handler(type);
    const started = performance.now();
    const done = (change: Change): void => {
      this.completed.push(key);
      report({ change, type, name, milliseconds: performance.now() - started });
    };
    const before = state.get(key);
    if (isPartial) {
      done(before === undefined ? "create" : "update");
      return { id: undefined, outputs: {} };
    }

    const providerKey = provider === undefined || provider === "" ? undefined : providerOf(provider);
    const declared = {
      type,
      name,
      inputs,
      hash: hash(inputs),
      provider: providerKey === undefined ? undefined : this.#providers.get(providerKey),
      timeout: duration(options.customTimeouts?.[before === undefined ? "create" : "update"]),
    };
    const location = handler.locate({ ...declared, recorded: before });
    const recorded = before?.id === location.id ? before : undefined;
    const record: Recorded = {
      type,
      name,
      ...location,
      ...(providerKey !== undefined && { provider: providerKey }),
      ...(options.protect === true && { protect: true }),
      ...(options.retainOnDelete === true && { retain: true }),
    };
    if (mode === "up" && recorded === undefined) {
      state.retire(key); // if it is another object now, the old one is deleted at the end
      state.put(key, record); // what a killed run was making must not be forgotten
    }
    const { change, outputs, generated } = await handler.apply({ ...declared, recorded }, this);
    if (mode === "up") {
      state.put(key, { ...record, hash: declared.hash, ...(generated !== undefined && { generated }) });
    }
    done(change);
    return { id: mode !== "up" && change === "create" ? undefined : location.id, outputs };
  }

  async #remove(key: string, recorded: Recorded): Promise<void> {
    const { state, report, mode } = this.#options;
    const { type, name } = recorded;
    const started = performance.now();
    if (recorded.protect === true && mode !== "preview") {
      throw new Error(`is protected from deletion: take "protect" off and run "up" once, then try again`);
    }
    const isForgotten = recorded.retain === true || recorded.target === undefined;
    if (mode !== "preview") {
      const provider = recorded.provider === undefined ? undefined : this.#providers.get(recorded.provider);
      if (!isForgotten) await this.#handler(type).remove(recorded, provider, this);
      state.remove(key);
    }
    const change = isForgotten ? "forget" : "delete";
    report({ change, type, name, milliseconds: performance.now() - started });
  }

  #handler(type: string): Handler {
    const handler = this.#options.handlers[type.split(":", 1)[0] ?? ""];
    if (handler === undefined) {
      throw new Error("the embedded deployer does not know this type of resource: use the Pulumi CLI");
    }
    return handler;
  }
}

/** The key of a provider resource, out of a reference `urn::id`; its id is its key. */
function providerOf(reference: string): string {
  return reference.split("::").slice(4).join("::");
}
