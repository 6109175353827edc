import { setTimeout as sleep } from "node:timers/promises";

import { createLocalJWKSet, errors, type JWTVerifyGetKey } from "jose";

/** The keys are fetched this often, in milliseconds, ahead of any need: no request waits for the issuer. */
const defaultRefreshMs = 30_000;

/** While the issuer can't be reached, its last keys stay in use for so long, in milliseconds. */
const maxStaleMs = 60 * 60_000;

/** A token with an unknown key id makes the keys be fetched at once, but not more often than this, in milliseconds. */
const coolDownMs = 10_000;

/** The issuer's published keys, kept fresh. */
export interface RemoteKeys {
  /** Finds the key of a token. Rejects with jose's errors when the token's key isn't there. */
  find: JWTVerifyGetKey;
  /** Seconds since the issuer last served its keys; Infinity before the first time. */
  age: () => number;
  /** Ends the fetching. */
  stop: () => void;
}

/** How to keep keys. */
export interface RemoteKeysOptions {
  /** Fetches the text of the JWKS. */
  fetchText: () => Promise<string>;
  /** Called when the keys have changed: what was verified by the previous ones is no longer valid. */
  onChange: () => void;
  /** Called when they can't be fetched or read; the previous ones stay in use. */
  onError: (error: unknown) => void;
  /** In milliseconds. @default Date.now */
  now?: () => number;
  /** In milliseconds; never by itself when Infinity. @default 30000 */
  refreshMs?: number;
}

/**
 * Keeps an issuer's keys: fetched at the start and then steadily, the last good ones for an hour when the issuer
 * fails, and at once (with a cool-down) when a token names a key that isn't among them. Of jose's `createRemoteJWKSet` these are missing: the cool-down
 * after a failed fetch, and keys that outlast the issuer's failure.
 *
 * Of a token only its `kid` and `alg` are looked at; `jku`, `x5u` and `jwk` never are (RFC 8725, section 3.10).
 */
export function createRemoteKeys(options: RemoteKeysOptions): RemoteKeys {
  const { fetchText, onChange, onError, now = Date.now, refreshMs = defaultRefreshMs } = options;
  let text = "";
  let keys: JWTVerifyGetKey | undefined;
  let fetchedAt = -Infinity;
  let triedAt = -Infinity;
  let underWay: Promise<void> | undefined;
  const stopped = new AbortController();

  const load = async (): Promise<void> => {
    triedAt = now();
    try {
      const fetched = await fetchText();
      if (fetched !== text) {
        keys = createLocalJWKSet(JSON.parse(fetched));
        if (text !== "") onChange();
        text = fetched;
      }
      fetchedAt = triedAt;
    } catch (error) {
      onError(error);
    }
  };
  const reload = (): Promise<void> =>
    (underWay ??= load().finally(() => {
      underWay = undefined;
    }));
  const keepFresh = async (): Promise<void> => {
    while (!stopped.signal.aborted) {
      await reload();
      if (refreshMs === Infinity) return;
      await sleep(refreshMs, undefined, { ref: false, signal: stopped.signal }).catch(() => undefined);
    }
  };
  void keepFresh();

  const current = (): JWTVerifyGetKey => {
    if (keys === undefined || now() - fetchedAt > maxStaleMs)
      throw new Error("the issuer's keys are unavailable");
    return keys;
  };
  const coolingDown = (): boolean => now() - triedAt < coolDownMs;

  return {
    async find(header, token) {
      if (keys === undefined && underWay !== undefined) await underWay;
      else if (keys === undefined && !coolingDown()) await reload();
      try {
        return await current()(header, token);
      } catch (error) {
        if (!(error instanceof errors.JWKSNoMatchingKey) || coolingDown()) throw error;
        await reload();
        return current()(header, token);
      }
    },
    age: () => (now() - fetchedAt) / 1000,
    stop: () => stopped.abort(),
  };
}
