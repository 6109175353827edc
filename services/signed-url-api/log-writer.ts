import type { LogSink } from "../common/log.ts";

/** A log that says when its lines are written. */
export interface LogWriter extends LogSink {
  /** Resolves once every line taken so far is written; never, when the log can't be written. */
  written: () => Promise<void>;
}

/**
 * Writes the log once for all that happens in one iteration of the event loop.
 *
 * An answer that hands out a URL has to wait for its log line: a log that can't be written ends the process, and the
 * URL is not sent.
 */
export function createLogWriter(sink: LogSink): LogWriter {
  let text = "";
  let waiting: (() => void)[] = [];
  let scheduled = false;

  const flush = (): void => {
    const [lines, resolvers] = [text, waiting];
    text = "";
    waiting = [];
    scheduled = false;
    // Throws into the event loop, which ends the process.
    if (lines !== "") sink.write(lines);
    for (const resolve of resolvers) resolve();
  };
  const schedule = (): void => {
    if (scheduled) return;
    scheduled = true;
    setImmediate(flush);
  };

  return {
    write: (line) => {
      text += line;
      schedule();
    },
    written: () =>
      new Promise((resolve) => {
        waiting.push(resolve);
        schedule();
      }),
  };
}
