/** The user pressed Ctrl-C, or the process was told to end. */
export class InterruptedError extends Error {
  readonly exitCode: number;

  constructor(signal: "SIGINT" | "SIGTERM" | "SIGHUP") {
    super(`interrupted (${signal})`);
    this.name = "InterruptedError";
    this.exitCode = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 }[signal];
  }
}

/**
 * Turns the first SIGINT, SIGTERM or SIGHUP into an abort of the returned signal, whose reason is an
 * {@link InterruptedError}. Further ones change nothing: the run is already stopping.
 */
export function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (!controller.signal.aborted) controller.abort(new InterruptedError(signal));
    });
  }
  return controller.signal;
}
