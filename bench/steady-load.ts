import { once } from "node:events";
import { connect } from "node:net";

const closingBrace = "}".charCodeAt(0);

/**
 * Asks at a fixed rate over open connections, whether or not answers have come, and hands back how long each took from
 * the moment it was due: a slow answer delays no measurement of the next.
 *
 * @param rate - requests a second
 * @returns milliseconds, in order
 */
export async function steadyLoad(
  port: number,
  token: string,
  rate: number,
  seconds: number,
): Promise<Float64Array> {
  const questions = Array.from({ length: 100 }, (_, job) =>
    Buffer.from(
      `GET /api/v1/results/job-${job}/download HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`,
    ),
  );
  const all = rate * seconds;
  const took = new Float64Array(all);
  let answered = 0;
  const { promise: allAnswered, resolve: finish } = Promise.withResolvers<void>();
  // One buffer for all: Node's own, of 64 KiB for each answer, would make the garbage that is measured.
  const buffer = Buffer.alloc(64 * 1024);
  const open = async () => {
    const callback = (bytes: number): boolean => {
      // Every answer is one flat JSON object, which ends its body.
      if (buffer[bytes - 1] === closingBrace) {
        took[answered] = performance.now() - place.due;
        answered += 1;
        idle.push(place);
        if (answered === all) finish();
      }
      return true;
    };
    const socket = connect({ port, host: "127.0.0.1", noDelay: true, onread: { buffer, callback } });
    const place = { socket, due: 0 };
    await once(socket, "connect");
    return place;
  };
  const idle = await Promise.all(Array.from({ length: 64 }, open));
  const places = [...idle];
  const began = performance.now();
  for (let sent = 0; sent < all;) {
    const due = Math.min(all, Math.floor(((performance.now() - began) * rate) / 1000));
    while (sent < due) {
      const place = idle.shift();
      if (place === undefined) break;
      place.due = began + (sent * 1000) / rate;
      place.socket.write(questions[sent % questions.length] ?? "");
      sent += 1;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  await allAnswered;
  for (const { socket } of places) socket.destroy();
  return took;
}
