// Pulumi's policy host compiles every .ts that it requires by a TypeScript of its own settings. From here on Node
// loads the files, and strips the types itself, as for the program.
import "./pack.ts";
