// For importers that do not name the files of their own yet.
export { loadSettings } from "./load.ts";
export { ConfigError, parseSettings } from "./parse.ts";
export type { Settings } from "./schema.ts";
