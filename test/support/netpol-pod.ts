/**
 * Stands in for a pod in the kernel test: serves TCP and UDP 80 and 81, telling each client the address it is seen
 * by, and tries connections that it is asked for on stdin (one JSON object a line, answered by one on stdout).
 */
import { createSocket } from "node:dgram";
import { createServer, connect } from "node:net";
import { createInterface } from "node:readline";
import { z } from "zod";

const requestSchema = z.object({
  id: z.number(),
  protocol: z.enum(["TCP", "UDP"]),
  host: z.string(),
  port: z.number(),
  timeout: z.number(),
  /** TCP only: answer with what a second question on the same connection brings, this many milliseconds later. */
  askAgainAfter: z.number().optional(),
});

export type ProbeRequest = z.infer<typeof requestSchema>;

/** `seen`: the client's address as the server saw it; null if there was no answer. */
export const answerSchema = z.object({ id: z.number(), seen: z.string().nullable() });

const PORTS = [80, 81];

function serve(): void {
  for (const port of PORTS) {
    // "::" takes IPv4 too, so that the same server shows whether IPv6 is a way around.
    createServer((socket) => {
      socket.on("error", () => socket.destroy());
      socket.on("data", () => socket.write(socket.remoteAddress ?? ""));
    }).listen(port, "::");
    const udp = createSocket("udp4");
    udp.on("message", (_, { address, port }) => udp.send(address, port, address));
    udp.bind(port);
  }
}

function tryTcp(host: string, port: number, askAgainAfter = 0): { answer: Promise<string>; end: () => void } {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = connect({ host, port }, () => socket.write("?"));
  socket.on("error", reject).once("data", (first: Buffer) => {
    if (askAgainAfter === 0) return resolve(first.toString());
    socket.once("data", (second: Buffer) => resolve(second.toString()));
    setTimeout(() => socket.write("?"), askAgainAfter);
  });
  return { answer: promise, end: () => socket.destroy() };
}

function tryUdp(host: string, port: number): { answer: Promise<string>; end: () => void } {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = createSocket("udp4");
  const send = (): void => socket.send("?", port, host);
  socket.on("error", reject).on("message", (data) => resolve(data.toString()));
  send();
  const again = setInterval(send, 200);
  return {
    answer: promise,
    end: () => {
      clearInterval(again);
      socket.close();
    },
  };
}

async function answer({ id, protocol, host, port, timeout, askAgainAfter }: ProbeRequest): Promise<void> {
  const attempt = protocol === "TCP" ? tryTcp(host, port, askAgainAfter) : tryUdp(host, port);
  const timedOut = new Promise<null>((resolve) => setTimeout(() => resolve(null), timeout));
  const seen = await Promise.race([attempt.answer, timedOut]).catch(() => null);
  attempt.end();
  process.stdout.write(`${JSON.stringify({ id, seen: seen?.replace("::ffff:", "") ?? null })}\n`);
}

if (import.meta.main) {
  serve();
  createInterface(process.stdin).on("line", (line) => void answer(requestSchema.parse(JSON.parse(line))));
  process.stdin.on("end", () => process.exit(0));
}
