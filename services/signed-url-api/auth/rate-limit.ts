/** Clients counted by one limit; past that, the one counted for the longest time starts afresh. */
const MAX_CLIENTS = 20_000;

/** A limit's decision on one request. */
export interface Allowance {
  allowed: boolean;
  /** What is left to the client now. */
  remaining: number;
  /** Whole seconds until a refused request of this cost is allowed. 0 when it was. */
  retryAfter: number;
}

/** Takes `cost` (1 for one request) from what a client has left, if there is enough. */
export type RateLimit = (client: string, cost?: number) => Allowance;

/**
 * A token bucket for each client: a full minute's worth at first, refilled steadily. It counts within this
 * process, so that a limit holds for each replica by itself.
 *
 * @param perMinute - size of a bucket, and what flows into it in a minute
 * @param now - in milliseconds; by default of a clock that is never set back
 */
export function createRateLimit(perMinute: number, now: () => number = () => performance.now()): RateLimit {
  const buckets = new Map<string, { level: number; at: number }>();
  const perMs = perMinute / 60_000;
  return (client, cost = 1) => {
    const at = now();
    let bucket = buckets.get(client);
    if (bucket === undefined) {
      bucket = { level: perMinute, at };
      buckets.set(client, bucket);
      if (buckets.size > MAX_CLIENTS) buckets.delete(buckets.keys().next().value ?? client);
    }
    bucket.level = Math.min(perMinute, bucket.level + (at - bucket.at) * perMs);
    bucket.at = at;
    const allowed = bucket.level >= cost;
    if (allowed) bucket.level -= cost;
    return {
      allowed,
      remaining: Math.floor(bucket.level),
      retryAfter: allowed ? 0 : Math.ceil((cost - bucket.level) / perMs / 1000),
    };
  };
}
