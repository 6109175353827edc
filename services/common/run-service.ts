/** After SIGTERM, whatever still runs this much later, in milliseconds, is cut off: well within a pod's grace period. */
const stopLimitMs = 20_000;

/** Starts a service as the process's program, and stops it on SIGTERM or SIGINT. */
export async function runService(start: () => Promise<{ stop: () => Promise<void> }>): Promise<void> {
  try {
    const server = await start();
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      process.once(signal, () => {
        setTimeout(() => process.exit(1), stopLimitMs).unref();
        server.stop().catch(fail);
      });
    }
  } catch (error) {
    fail(error);
  }
}

function fail(error: unknown): void {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
