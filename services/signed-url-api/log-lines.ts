import sonicBoom from "sonic-boom";

/** Takes log lines, and says when they are written. */
export interface LogLines {
  write: (line: string) => void;
  /** Calls back once every line taken so far is written. */
  whenWritten: (then: () => void) => void;
}

/** Where log lines go. A text is written when `write` returns; what it throws ends the process. */
export interface LogSink {
  write: (text: string) => unknown;
}

/**
 * The log, written once for all that happens in one turn of the event loop.
 *
 * An answer that hands out a URL has to wait for its line in the audit trail. Written line by line, the log takes
 * a quarter of such an answer's time; an answer that waits for the end of the turn waits a fraction of a millisecond.
 *
 * @param sink - by default standard output
 */
export function createLogLines(sink: LogSink = new sonicBoom.SonicBoom({ fd: 1, sync: true })): LogLines {
  let text = "";
  let waiting: (() => void)[] = [];
  let scheduled = false;

  const endTurn = (): void => {
    const [lines, callbacks] = [text, waiting];
    text = "";
    waiting = [];
    scheduled = false;
    if (lines !== "") sink.write(lines);
    for (const callback of callbacks) callback();
  };
  const schedule = (): void => {
    if (scheduled) return;
    scheduled = true;
    setImmediate(endTurn);
  };

  return {
    write: (line) => {
      text += line;
      schedule();
    },
    whenWritten: (then) => {
      waiting.push(then);
      schedule();
    },
  };
}
