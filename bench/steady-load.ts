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
  const question = (n: number): string =>
    `GET /api/v1/results/job-${n % 100}/download HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`;
  const all = rate * seconds;
  const took = new Float64Array(all);
  let answered = 0;
  const { promise: allAnswered, resolve: finish } = Promise.withResolvers<void>();
  const idle = await Promise.all(
    Array.from({ length: 64 }, async () => {
      const socket = connect(port, "127.0.0.1").setNoDelay();
      await once(socket, "connect");
      const place = { socket, due: 0 };
      socket.on("data", (chunk) => {
        // Every answer is one flat JSON object, which ends its body.
        if (chunk.at(-1) !== closingBrace) return;
        took[answered] = performance.now() - place.due;
        answered += 1;
        if (answered === all) finish();
        idle.push(place);
      });
      return place;
    }),
  );
  const places = [...idle];
  const began = performance.now();
  for (let sent = 0; sent < all;) {
    const due = Math.min(all, Math.floor(((performance.now() - began) * rate) / 1000));
    while (sent < due) {
      const place = idle.shift();
      if (place === undefined) break;
      place.due = began + (sent * 1000) / rate;
      place.socket.write(question(sent));
      sent += 1;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  await allAnswered;
  for (const { socket } of places) socket.destroy();
  return took;
}
