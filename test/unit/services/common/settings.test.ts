import { expect, test } from "vitest";
import { z } from "zod";

import { httpsUrl, port, readEnvironment, text, wholeNumber } from "../../../../services/common/settings.ts";

const schema = z.object({ NAME: text, PORT: port.prefault("80"), SIZE: wholeNumber(5, 9), URL: httpsUrl });
const good = { NAME: "a", SIZE: "7", URL: "https://host.test/" };

test("variables are read by a schema; others are ignored", () => {
  expect(readEnvironment(schema, { ...good, HOME: "/root" })).toEqual({ ...good, PORT: 80, SIZE: 7 });
});

test("all problems are reported together: variable, value, and what it must be", () => {
  const rules = [() => "NAME, SIZE: set one", () => undefined];
  expect(() => readEnvironment(schema, { PORT: "x", SIZE: "10", URL: "ftp://a" }, rules)).toThrow(
    [
      "the environment is not usable:",
      "NAME is not set: must be set",
      'PORT is "x": must be a whole number',
      'SIZE is "10": must be from 5 to 9',
      'URL is "ftp://a": must be an https URL',
      "NAME, SIZE: set one",
    ].join("\n  "),
  );
});

test("rules over several variables hold when each variable is right, too", () => {
  expect(() => readEnvironment(schema, good, [() => "NAME, SIZE: set one"])).toThrow("NAME, SIZE: set one");
});

test.each([
  ["http://user:pa55@host/", 'URL is "http://***@host/"'],
  ["user:pa55@host", 'URL is "***@host"'],
  ["http://user:pa/55@host", 'URL is "http://***@host"'],
  ["http://host/?key=pa55", 'URL is "http://host/?***"'],
])("a password or key in %s is not repeated", (URL, shown) => {
  const read = () => readEnvironment(schema, { ...good, URL });
  expect(read).toThrow(shown);
  expect(read).not.toThrow("55");
});
