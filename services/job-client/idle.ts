/**
 * Keeps a job pod there for `npm run job`, which runs `put.mjs` in it. As process 1 it gets no default signal
 * handling from the kernel, so it ends on SIGTERM by its own handler instead of after the grace period.
 */
const alive = setInterval(() => undefined, 2 ** 31 - 1);

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.once(signal, () => {
    clearInterval(alive);
  });
}

process.stdout.write("waiting for work, until SIGTERM\n");
