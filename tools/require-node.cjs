// Loaded before each command (package.json, "scripts"): says in one line what is missing, where an older Node or a clone
// without its packages would fail with a message about something else. Plain JavaScript that any Node can read.
const { existsSync } = require("node:fs");

const [major, minor] = process.versions.node.split(".").map(Number);
const root = `${__dirname}/..`;
const fault = !existsSync(`${root}/node_modules`)
  ? `The packages are not installed: run "npm ci" in the project's folder first.`
  : major < 22 || (major === 22 && minor < 18)
    ? `Node 22.18 or newer is needed, and this is ${process.versions.node}: run the command by "npm run", or install it.`
    : undefined;
if (fault !== undefined) {
  process.stderr.write(`${fault}\n`);
  process.exit(1);
}
