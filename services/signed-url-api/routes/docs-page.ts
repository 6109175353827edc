import { hash } from "node:crypto";

/** An OpenAPI document, as far as the page looks at it. */
interface Document {
  info?: { title?: string; description?: string };
  paths?: object;
}

interface Operation {
  summary?: string;
  description?: string;
  parameters?: { name: string; in: string; required?: boolean; description?: string; schema?: object }[];
  requestBody?: { content?: Record<string, { schema?: object }> };
  responses?: Record<string, { description?: string; content?: Record<string, { schema?: object }> }>;
}

const style = `
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0 } h2 { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: 1.5rem }
h2 code { font-size: 1.05rem; overflow-wrap: anywhere } .method { font-weight: 700; margin-right: .5rem }
pre { padding: .75rem 1rem; overflow-x: auto; border: 1px solid var(--line); border-radius: .4rem }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 } th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line) }
td:first-child { white-space: nowrap } summary { cursor: pointer; margin: .8rem 0 }
`;

/** The page's Content-Security-Policy: its own style, and nothing from anywhere else, scripts included. */
export const docsPolicy = `default-src 'none'; style-src 'sha256-${hash("sha256", style, "base64")}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

/** The OpenAPI document for people: one page of plain HTML that needs no script, file or other host. */
export function docsPage({ info, paths = {} }: Document): string {
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries<Operation>(methods)
      .filter(([method]) => method !== "head")
      .map(([method, operation]) => section(method, path, operation)),
  );
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(info?.title)}</title>
<style>${style}</style>
<h1>${escape(info?.title)}</h1>
<p>${prose(info?.description)}</p>
<p>Every request needs <code>Authorization: Bearer</code> with a token of your identity provider. The machine-readable form of this page is <a href="/openapi.json">/openapi.json</a>.</p>
<pre>curl -H "Authorization: Bearer $token" "$api/api/v1/results/job-123/download"
curl -H "Authorization: Bearer $token" -L -o job-123.tif "$api/api/v1/results/job-123/result.tif"</pre>
${operations.join("\n")}
</html>
`;
}

function section(method: string, path: string, operation: Operation): string {
  const { summary, description, parameters = [], requestBody, responses = {} } = operation;
  const body = requestBody?.content?.["application/json"]?.schema;
  return [
    `<h2><code><span class="method">${escape(method.toUpperCase())}</span>${escape(path)}</code></h2>`,
    `<p><strong>${escape(summary)}.</strong> ${prose(description)}</p>`,
    parameters.length === 0
      ? ""
      : table(
          ["Parameter", "In", "What"],
          parameters.map((parameter) => [
            `<code>${escape(parameter.name)}</code>`,
            escape(parameter.in + (parameter.required === true ? ", required" : "")),
            prose(parameter.description ?? about(parameter.schema)),
          ]),
        ),
    body === undefined ? "" : `<h3>Body</h3>${schemaBlock(body)}`,
    table(
      ["Answer", "What"],
      Object.entries(responses).map(([status, response]) => [
        `<code>${escape(status)}</code>`,
        prose(response.description),
      ]),
    ),
    ...Object.entries(responses).map(([status, response]) => {
      const schema = response.content?.["application/json"]?.schema;
      return schema === undefined
        ? ""
        : `<details><summary>Fields of ${escape(status)}</summary>${schemaBlock(schema)}</details>`;
    }),
  ].join("\n");
}

function table(head: string[], rows: string[][]): string {
  return `<table>${row(head, "th")}${rows.map((cells) => row(cells, "td")).join("")}</table>`;
}

const row = (cells: string[], tag: string): string =>
  `<tr>${cells.map((cell) => `<${tag}>${cell}</${tag}>`).join("")}</tr>`;

const schemaBlock = (schema: object): string => `<pre>${escape(JSON.stringify(schema, undefined, 2))}</pre>`;

const about = (schema: object | undefined): string =>
  schema !== undefined && "description" in schema ? String(schema.description) : "";

const entities: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

const escape = (text = ""): string =>
  text.replaceAll(/[&<>"]/g, (character) => entities[character] ?? character);

/** Text whose `backquoted` parts are code. */
const prose = (text = ""): string => escape(text).replaceAll(/`([^`]+)`/g, "<code>$1</code>");
