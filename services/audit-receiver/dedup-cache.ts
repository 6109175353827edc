import { createHash } from "node:crypto";

/**
 * The newest events, so that one which MinIO repeats is stored once: it repeats, byte for byte, what it got no answer
 * for, even if only the answer was lost.
 *
 * A repeat that comes later than `capacity` other events is stored again, which harms nothing but the count.
 */
export class DedupCache {
  readonly #keys = new Set<string>();
  readonly #capacity: number;

  /** @param capacity number of events; each takes about 100 bytes of memory. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Those of the events that are not in the cache, without repeats among themselves. */
  filterNew(events: Iterable<string>): {
    readonly fresh: readonly string[];
    readonly keys: readonly string[];
  } {
    const fresh = new Map<string, string>();
    for (const event of events) {
      const key = keyOf(event);
      if (!this.#keys.has(key) && !fresh.has(key)) fresh.set(key, event);
    }
    return { fresh: [...fresh.values()], keys: [...fresh.keys()] };
  }

  /** To be called once the events are on the disk, and not before. */
  add(keys: Iterable<string>): void {
    for (const key of keys) this.#keys.add(key);
    for (const oldest of this.#keys) {
      if (this.#keys.size <= this.#capacity) break;
      this.#keys.delete(oldest);
    }
  }
}

function keyOf(event: string): string {
  return createHash("sha256").update(event).digest("base64url").slice(0, 22);
}
