/** Where progress goes: a terminal, or a log of an unattended run. */
export interface ProgressOutput {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

/** Tells what is being done, step by step. */
export interface Progress {
  /** Runs one step: says its number and title, a line now and then while it lasts, and the time it took. */
  step<T>(title: string, work: (step: Step) => Promise<T>): Promise<T>;
  /** A line outside of any step. */
  line(text: string): void;
  /** Calls `listener` with a line that says what is going on, whenever that changes. */
  onActivity(listener: (text: string) => void): void;
}

/** What a step can tell while it runs. */
export interface Step {
  /** Says a fact worth keeping, on a line of its own. */
  note(text: string): void;
  /** Says what is going on just now; shown with the next heartbeat. */
  doing(text: string): void;
}

/** A long step says that it is alive this often. */
const heartbeatMilliseconds = 15_000;

/** Shows progress line by line, so that a log reads the same as the terminal did; only colour depends on the terminal. */
export function progressOn(
  output: ProgressOutput,
  stepCount: number,
  colour: boolean = output.isTTY === true,
): Progress {
  const paint = (code: number, text: string): string =>
    colour ? `\u001B[${String(code)}m${text}\u001B[0m` : text;
  const write = (text: string): void => void output.write(`${text}\n`);
  let number = 0;
  let listener: ((text: string) => void) | undefined;
  return {
    line: write,
    onActivity: (added) => void (listener = added),
    async step(title, work) {
      number += 1;
      const began = Date.now();
      let doing = "";
      const heading = `[${String(number)}/${String(stepCount)}] ${title}`;
      listener?.(heading);
      write(`${paint(1, `[${String(number)}/${String(stepCount)}]`)} ${title}`);
      const heartbeat = setInterval(() => {
        write(paint(2, `      ${elapsed(Date.now() - began)}${doing === "" ? "" : `  ${doing}`}`));
      }, heartbeatMilliseconds);
      try {
        const result = await work({
          note: (text) => write(`      ${text}`),
          doing: (text) => {
            doing = text;
            listener?.(`${heading}: ${text}`);
          },
        });
        write(paint(32, `      done in ${elapsed(Date.now() - began)}`));
        return result;
      } catch (error) {
        write(paint(31, `      stopped after ${elapsed(Date.now() - began)}`));
        throw error;
      } finally {
        clearInterval(heartbeat);
      }
    },
  };
}

/** A duration as a person says it: `0.4 s`, `12 s`, `3 min 05 s`. */
export function elapsed(milliseconds: number): string {
  const seconds = milliseconds / 1000;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${String(whole)} s`;
  return `${String(Math.floor(whole / 60))} min ${String(whole % 60).padStart(2, "0")} s`;
}

/** A size as a person says it: `512 B`, `3.4 MiB`, `12 GiB`. */
export function size(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 10 ? 0 : 1;
  return `${value.toFixed(digits)} ${units[unit] ?? ""}`;
}
