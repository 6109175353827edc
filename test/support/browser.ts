import { once } from "node:events";
import { createServer, type Server, type ServerOptions } from "node:https";

import { type Browser, chromium, type Page } from "playwright-core";

import { cannotHave, ensureProgram } from "./debian.ts";
import { snippet } from "./snippets.ts";

const executablePath = "/usr/bin/chromium";

/** Why there is no browser here; undefined where there is one, or can be. */
export const browserCannotRun = cannotHave(executablePath);

/** Starts Debian's Chromium, which is installed if it is not there. */
export async function startBrowser(): Promise<Browser> {
  await ensureProgram(executablePath, "chromium");
  return chromium.launch({ executablePath, args: ["--no-sandbox"] });
}

/** A page in a profile of its own, so that nothing is remembered from another. */
export interface OpenPage {
  readonly page: Page;
  /** What the page and the browser said on the console: `<type> <text>`. */
  readonly said: readonly string[];
  /** What the browser asked, preflights included. */
  readonly asked: readonly { readonly method: string; readonly url: string }[];
  readonly close: () => Promise<void>;
}

/** Opens an address, whoever signed its certificate. */
export async function openPage(browser: Browser, url: string): Promise<OpenPage> {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  const said: string[] = [];
  const asked: OpenPage["asked"][number][] = [];
  page.on("console", (message) => said.push(`${message.type()} ${message.text()}`));
  page.on("pageerror", (error) => said.push(`error ${error.message}`));
  // Playwright's own events leave preflights out.
  const devtools = await context.newCDPSession(page);
  devtools.on("Network.requestWillBeSent", ({ request: { method, url } }) => asked.push({ method, url }));
  await devtools.send("Network.enable");
  await page.goto(url);
  return { page, said, asked, close: () => context.close() };
}

/** Serves an empty page, for scripts to run on. */
export async function servePage(tls: Pick<ServerOptions, "cert" | "key">, port: number): Promise<Server> {
  const server = createServer(tls, (_request, response) => {
    response.setHeader("content-type", "text/html").end("<!doctype html><title>map</title>");
  }).listen(port, "127.0.0.1");
  await once(server, "listening");
  return server;
}

/** docs/api.md's script for a page, with the API and the token that it wants, and what more of it is to be tried. */
export const pageScript = async (api: string, token: string, more = ""): Promise<string> =>
  `(async () => { const api = ${JSON.stringify(api)}, token = ${JSON.stringify(token)};
    ${await snippet("api.md", "js")}
    ${more} })()`;
