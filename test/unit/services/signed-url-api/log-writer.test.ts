import { expect, test } from "vitest";

import { createLogWriter } from "../../../../services/signed-url-api/log-writer.ts";

const nextIteration = () => new Promise(setImmediate);

test("lines of one iteration of the event loop are written at once, and only then does anybody's wait end", async () => {
  const happened: string[] = [];
  const log = createLogWriter({ write: (text) => happened.push(`written ${text}`) });
  void log.written().then(() => happened.push("first wait ends"));
  log.write("a");
  log.write("b");
  void log.written().then(() => happened.push("second wait ends"));
  expect(happened).toEqual([]);
  await nextIteration();
  expect(happened).toEqual(["written ab", "first wait ends", "second wait ends"]);
  log.write("c");
  await nextIteration();
  expect(happened.slice(3)).toEqual(["written c"]);
});

test("a line logged after a wait has ended is written in the next iteration", async () => {
  const written: string[] = [];
  const log = createLogWriter({ write: (text) => written.push(text) });
  const waits = async (): Promise<void> => {
    await log.written();
    log.write("later");
    await log.written();
    written.push("wait ends");
  };
  void waits();
  await nextIteration();
  await nextIteration();
  expect(written).toEqual(["later", "wait ends"]);
});

test("a log that can't be written throws into the event loop, and nobody's wait ends", async () => {
  const uncaught = Promise.withResolvers<unknown>();
  const former = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException").once("uncaughtException", uncaught.resolve);
  try {
    const failure = new Error("EPIPE");
    const log = createLogWriter({
      write: () => {
        throw failure;
      },
    });
    let ended = false;
    log.write("URL issued");
    void log.written().then(() => (ended = true));
    expect(await uncaught.promise).toBe(failure);
    await nextIteration();
    expect(ended).toBe(false);
  } finally {
    for (const listener of former) process.on("uncaughtException", listener);
  }
});
