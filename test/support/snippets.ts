import { readFile } from "node:fs/promises";

/** A code block of a page in docs/, by what follows its three backquotes. @throws Error when there is none. */
export async function snippet(page: string, info: string): Promise<string> {
  const text = await readFile(`docs/${page}`, "utf8");
  const block = new RegExp(`^\`\`\`${info}\\n([^]*?)^\`\`\`$`, "m").exec(text)?.[1];
  if (block === undefined) throw new Error(`docs/${page} has no block "${info}"`);
  return block;
}
