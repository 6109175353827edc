/** Takes one line an event. */
export type Log = (message: string) => void;

export function logToStdout(message: string): void {
  process.stdout.write(`${new Date().toISOString()} ${message.replaceAll("\n", " | ")}\n`);
}
