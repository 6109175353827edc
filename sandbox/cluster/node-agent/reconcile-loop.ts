import type { Log } from "./log.ts";

export interface ReconcileLoop {
  /** Asks for a run soon. Many calls in a short time make one run. */
  trigger(): void;
}

/**
 * Runs `reconcile` when triggered, one at a time; again after a failure, and every now and then by itself, so that
 * it repairs what changed behind its back.
 *
 * @param options.debounce milliseconds from a trigger to its run. @default 50
 * @param options.retry milliseconds from a failure to the next try. @default 1000
 * @param options.resync milliseconds from a success to a run that nobody asked for. @default 30000
 */
export function reconcileLoop(
  name: string,
  reconcile: () => Promise<void>,
  log: Log,
  { debounce = 50, retry = 1000, resync = 30_000 } = {},
): ReconcileLoop {
  let timer: NodeJS.Timeout | undefined;
  let due = Infinity;
  let running = false;

  const schedule = (delay: number): void => {
    const at = Date.now() + delay;
    // A run that comes sooner serves this request too; restarting the timer would let a busy cluster starve it.
    if (at >= due) return;
    clearTimeout(timer);
    due = at;
    timer = setTimeout(() => void run(), delay);
  };

  const run = async (): Promise<void> => {
    due = Infinity;
    // The present run may have read its input already: come back when it is done.
    if (running) return schedule(debounce);
    running = true;
    try {
      await reconcile();
      schedule(resync);
    } catch (error) {
      log(`${name}: failed, will retry: ${error instanceof Error ? error.message : String(error)}`);
      schedule(retry);
    } finally {
      running = false;
    }
  };

  return { trigger: () => schedule(debounce) };
}
