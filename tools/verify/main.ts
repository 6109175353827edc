import { readFileSync } from "node:fs";

import { runCommand, UsageError } from "../command-line.ts";
import { type Check, type Result, runChecks } from "./check.ts";
import { chosenChecks } from "./checks/index.ts";

const usage = `Proves, check by check, that a live deployment is as private as it must be.

npm run verify                          the sandbox, or the cluster that KUBECONFIG names
       -- --stack prod                  what is declared: Pulumi.prod.yaml [the sandbox's stack file, or Pulumi.dev.yaml]
       -- --config-file FILE            what is declared, by the file's name
       -- --context NAME                which cluster of the kubeconfig [its current one]
       -- --namespace NAME              where the stack is [as declared]
       -- --image IMAGE                 for the probe pods, with node in it [the signed-URL API's]
       -- --owner-token-file FILE       a user's token and another's, where tokens come from an issuer of yours
          --stranger-token-file FILE
       -- --only ID[,ID]                these checks, or families of them, alone
       -- --list                        what is checked, and how, without doing it
       -- --json                        one JSON document

You need, in the stack's namespace: get and list on pods, services and secrets, create on pods, pods/exec and
pods/portforward; and to make and delete a namespace. Exit code 0 only when every check holds.
`;

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

const words = { holds: "holds  ", broken: "BROKEN ", "not run": "NOT RUN" } as const;

function describe({ id, outcome, seen, faults, proves, remedy, milliseconds }: Result): string {
  const head = `${words[outcome]} ${id.padEnd(24)} ${(milliseconds / 1000).toFixed(1).padStart(5)} s  `;
  if (outcome === "holds") return `${head}${seen}`;
  const lines = [
    ...faults.map((fault) => `          ${fault}`),
    `          proves: ${proves}`,
    `          remedy: ${remedy}`,
  ];
  return [head.trimEnd(), ...lines].join("\n");
}

const options = {
  stack: { type: "string" },
  "config-file": { type: "string" },
  context: { type: "string" },
  namespace: { type: "string" },
  image: { type: "string" },
  "owner-token-file": { type: "string" },
  "stranger-token-file": { type: "string" },
  only: { type: "string" },
  list: { type: "boolean", default: false },
  json: { type: "boolean", default: false },
} as const;

interface Values {
  readonly stack?: string | undefined;
  readonly "config-file"?: string | undefined;
  readonly context?: string | undefined;
  readonly namespace?: string | undefined;
  readonly image?: string | undefined;
  readonly json: boolean;
}

/** Runs the checks and prints what they find. @returns the exit code. */
async function verify(
  wanted: readonly Check[],
  options: Values,
  tokens: Tokens | undefined,
): Promise<number> {
  const [{ chooseCluster }, { readDeclaration, stackFileOf }, { Target }] = await Promise.all([
    import("../kube/dev-cluster.ts"),
    import("../program/stack-file.ts"),
    import("./target.ts"),
  ]);
  const { cluster, isSandbox } = chooseCluster(options.context);
  const file = options["config-file"] ?? stackFileOf(options.stack, isSandbox);
  const settings = readDeclaration(file);
  const target = new Target({
    cluster,
    settings,
    namespace: options.namespace ?? settings.namespace,
    image: options.image ?? settings.images.signedUrlApi,
    tokens,
  });

  const interrupt = (): void => {
    void target.close().finally(() => process.exit(130));
  };
  process.once("SIGINT", interrupt);
  process.once("SIGTERM", interrupt);
  const started = performance.now();
  if (!options.json) {
    say(
      `${wanted.length} checks of namespace ${target.namespace} on ${cluster.getCurrentCluster()?.server ?? "?"}, as ${file} declares it`,
    );
  }
  const results = await runChecks(wanted, target, (result) => {
    if (!options.json) say(describe(result));
  });
  await target.close();

  const count = (outcome: Result["outcome"]) => results.filter((result) => result.outcome === outcome).length;
  const milliseconds = Math.round(performance.now() - started);
  const ok = count("holds") === results.length;
  if (options.json) {
    say(
      JSON.stringify(
        { ok, namespace: target.namespace, stackFile: file, milliseconds, results },
        undefined,
        2,
      ),
    );
  } else {
    const bad = ok ? "" : `, ${count("broken")} broken, ${count("not run")} not run`;
    say(`${count("holds")} of ${results.length} hold${bad}, in ${(milliseconds / 1000).toFixed(0)} s`);
  }
  return ok ? 0 : 1;
}

interface Tokens {
  readonly owner: string;
  readonly stranger: string;
}

/** Tokens come by file: a command line is everybody's to read. */
function readTokens(owner: string | undefined, stranger: string | undefined): Tokens | undefined {
  if (owner === undefined && stranger === undefined) return undefined;
  if (owner === undefined || stranger === undefined) {
    throw new UsageError("--owner-token-file and --stranger-token-file go together: two users' tokens");
  }
  return { owner: readFileSync(owner, "utf8").trim(), stranger: readFileSync(stranger, "utf8").trim() };
}

await runCommand({
  name: "verify",
  usage,
  options,
  run: async (values) => {
    const wanted = chosenChecks(values.only);
    if (!values.list) {
      return verify(wanted, values, readTokens(values["owner-token-file"], values["stranger-token-file"]));
    }
    for (const { id, proves, how } of wanted) say(`${id}\n  proves: ${proves}\n  how:    ${how}`);
    return 0;
  },
});
// A connection that was cut leaves promises pending, which must not keep the process.
process.exit();
