import type { Applied, Declared, Handler, Location, Run } from "./monitor.ts";
import type { JsonObject } from "./values.ts";

/** How to make the values of one type of resource. */
export interface Maker {
  readonly make: (inputs: JsonObject) => Promise<JsonObject> | JsonObject;
  /** Whether made values have had their day, e.g. a certificate. */
  readonly isStale?: (generated: JsonObject) => boolean;
}

/**
 * Values made here and nowhere else (passwords, keys, certificates). They are made once and kept in the state file,
 * and made anew when their inputs change or their time is up.
 */
export class GeneratedValues implements Handler {
  readonly #makers: Readonly<Record<string, Maker>>;

  constructor(makers: Readonly<Record<string, Maker>>) {
    this.#makers = makers;
  }

  locate({ type, name }: Declared): Location {
    this.#maker(type);
    return { id: name };
  }

  async apply({ type, inputs, hash, recorded }: Declared, run: Run): Promise<Applied> {
    const { make, isStale } = this.#maker(type);
    const kept = recorded?.generated;
    // To delete things it takes the values that they were made with, stale or not.
    const isFresh =
      run.mode === "destroy" || (recorded?.hash === hash && (kept === undefined || isStale?.(kept) !== true));
    if (kept !== undefined && isFresh) return { change: "same", outputs: kept, generated: kept };
    const change = kept === undefined ? "create" : "replace";
    if (run.mode !== "up") return { change, outputs: {} };
    const generated = await make(inputs);
    return { change, outputs: generated, generated };
  }

  async remove(): Promise<void> {
    // Forgetting them is all there is to it.
  }

  #maker(type: string): Maker {
    const maker = this.#makers[type];
    if (maker === undefined) {
      throw new Error("the embedded deployer does not know this type of resource: use the Pulumi CLI");
    }
    return maker;
  }
}
