import { pino, stdTimeFunctions } from "pino";
import sonicBoom from "sonic-boom";

/** Writes lines of JSON: `{"level":30,"time":"2026-11-24T10:00:00.000Z",...,"msg":"..."}`. */
export type Logger = pino.Logger;

/** Where log lines go. A text is written when `write` returns; what it throws ends the process. */
export interface LogSink {
  write: (text: string) => unknown;
}

/** Standard output, written synchronously. */
export const standardOutput = (): LogSink => new sonicBoom.SonicBoom({ fd: 1, sync: true });

/** The log of a service, the same in all of them. */
export const createLogger = (sink: LogSink = standardOutput()): Logger =>
  pino({ base: null, timestamp: stdTimeFunctions.isoTime, serializers: { err: describeError } }, sink);

/**
 * An error as it may stand in the log: of what kind, where and why, and none of the properties that libraries hang
 * on it (jose: the token's claims).
 */
function describeError(error: unknown): object {
  if (!(error instanceof Error)) return { type: typeof error, message: String(error) };
  return {
    type: error.name,
    message: error.message,
    stack: error.stack ?? "",
    ...("code" in error && { code: error.code }),
    ...(error.cause instanceof Error && { cause: describeError(error.cause) }),
  };
}
