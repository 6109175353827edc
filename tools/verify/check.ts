import { messageOf } from "../command-line.ts";
import type { Target } from "./target.ts";

/** What a check found. No faults: what it proves holds. */
export interface Finding {
  /** What was looked at, in a few words, for a person who wants to know that something was. */
  readonly seen: string;
  /** Each thing that is not as it must be. */
  readonly faults: readonly string[];
}

/** One statement about a live deployment, and how it is proven. */
export interface Check {
  /** `<family>.<name>` */
  readonly id: string;
  /** The line of the storage security notes, or of this project's own promise, that it stands for. */
  readonly proves: string;
  readonly how: string;
  /** What to do when it does not hold. */
  readonly remedy: string;
  /** @throws when it could not be looked at: that is no pass either. */
  run(target: Target): Promise<Finding>;
}

export type Outcome = "holds" | "broken" | "not run";

export interface Result extends Omit<Check, "run"> {
  readonly outcome: Outcome;
  readonly seen: string;
  readonly faults: readonly string[];
  readonly milliseconds: number;
}

/** Checks at once: the rest wait for probe pods and sockets, not for this machine. */
const width = 6;

/** Milliseconds for one check; all must end within the 90 s that a run may take. */
const timeoutMs = 80_000;

/** Runs checks side by side, in the order given as places get free. */
export async function runChecks(
  checks: readonly Check[],
  target: Target,
  ended: (result: Result) => void,
): Promise<Result[]> {
  const waiting = [...checks];
  const results: Result[] = [];
  const worker = async (): Promise<void> => {
    for (let check = waiting.shift(); check !== undefined; check = waiting.shift()) {
      const result = await runCheck(check, target);
      results.push(result);
      ended(result);
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
  return results;
}

async function runCheck(check: Check, target: Target): Promise<Result> {
  const { id, proves, how, remedy } = check;
  const started = performance.now();
  const end = (outcome: Outcome, { seen, faults }: Finding): Result => ({
    id,
    proves,
    how,
    remedy,
    outcome,
    seen: target.redact(seen),
    faults: faults.map((fault) => target.redact(fault)),
    milliseconds: Math.round(performance.now() - started),
  });
  try {
    const finding = await withTimeout(check.run(target));
    return end(finding.faults.length === 0 ? "holds" : "broken", finding);
  } catch (error) {
    return end("not run", { seen: "", faults: [`could not be looked at: ${messageOf(error)}`] });
  }
}

async function withTimeout<T>(work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`no result within ${timeoutMs / 1000} s`)), timeoutMs);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}
