import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";

import { renderStack } from "../../tools/preview/render.ts";
import { ensureBuild, moduleFolder, builds, testBuilds } from "../../sandbox/cluster/builds.ts";
import { layoutOf } from "../../sandbox/layout.ts";
import { runner } from "../../sandbox/run.ts";
import { writeSchemas } from "../support/openapi-schemas.ts";

/**
 * Judges of others on the manifests of both stacks: the API server's own Pod Security code, kube-score, and
 * kubeconform with the schemas of Kubernetes' own OpenAPI. All work offline.
 */
interface Finding {
  readonly judge: string;
  readonly check: string;
  /** `Kind/name`. */
  readonly object: string;
  readonly detail: string;
}

interface Answer {
  readonly judge: string;
  readonly check: string;
  readonly stacks: readonly string[];
  /** @default any */
  readonly objects?: readonly string[];
  readonly reason: string;
}

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly [field: string]: unknown;
}

const kubernetesVersion = "v1.35";
let folder: string;
let answers: readonly Answer[];
let judges: {
  readonly podSecurity: string;
  readonly kubeconform: string;
  readonly kubeScore: string;
  readonly schemas: string;
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "static-proof-"));
  const layout = layoutOf();
  const run = runner(new AbortController().signal);
  const step = { note: () => undefined, doing: () => undefined };
  const manifestChecks = await ensureBuild(layout, run, step, testBuilds.manifestChecks);
  const kubeScore = await ensureBuild(layout, run, step, testBuilds.kubeScore);
  const [kubernetes] = builds;
  const sources = execFileSync("go", ["list", "-mod=mod", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"], {
    cwd: moduleFolder(layout, kubernetes),
    encoding: "utf8",
  }).trim();
  judges = {
    podSecurity: join(manifestChecks, "manifest-checks"),
    kubeconform: join(manifestChecks, "kubeconform"),
    kubeScore: join(kubeScore, "kube-score"),
    schemas: await writeSchemas(join(sources, "api/openapi-spec/swagger.json"), join(folder, "schemas")),
  };
  answers = parse(await readFile(join(import.meta.dirname, "static-proof.answers.yaml"), "utf8"));
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

async function manifests(stack: string): Promise<Manifest[]> {
  const files = await renderStack(process.cwd(), stack);
  return [...files]
    .filter(([path]) => path.startsWith("kubernetes/"))
    .map(([, text]): Manifest => parse(text));
}

/** A judge's answer in JSON. They end with 1 when they find something. */
function ask(command: string, args: readonly string[], input: string): string {
  try {
    return execFileSync(command, args, { input, encoding: "utf8", stdio: ["pipe", "pipe", "pipe"] });
  } catch (error) {
    if (error instanceof Error && "stdout" in error && typeof error.stdout === "string" && error.stdout) {
      return error.stdout;
    }
    throw error;
  }
}

function podSecurity(objects: readonly Manifest[]): { readonly pods: number; readonly findings: Finding[] } {
  const answer: {
    pods: number;
    checks: number;
    violations: readonly { object: string; check: string; reason: string; detail: string }[];
  } = JSON.parse(
    ask(
      judges.podSecurity,
      ["-level", "restricted", "-version", kubernetesVersion],
      JSON.stringify({ items: objects }),
    ),
  );
  return {
    pods: answer.pods,
    findings: answer.violations.map(({ object, check, reason, detail }) => ({
      judge: "pod-security-admission",
      check,
      object,
      detail: `${reason}: ${detail}`,
    })),
  };
}

function kubeScore(objects: readonly Manifest[]): Finding[] {
  const text = objects.map((object) => stringify(object)).join("---\n");
  const version = ["--kubernetes-version", kubernetesVersion];
  const scored: readonly {
    type_meta: { kind: string };
    object_meta: { name: string };
    checks: readonly {
      check: { id: string };
      grade: number;
      skipped: boolean;
      comments: readonly { path: string; summary: string }[] | null;
    }[];
  }[] = JSON.parse(ask(judges.kubeScore, ["score", "--output-format", "json", ...version, "-"], text));
  // Grades: 1 critical, 5 warning, 7 almost right, 10 right. What is a warning needs an answer as well.
  return scored.flatMap(({ type_meta: { kind }, object_meta: { name }, checks }) =>
    checks
      .filter(({ grade, skipped }) => !skipped && grade < 7)
      .flatMap(({ check, comments }) =>
        (comments ?? []).map(({ path, summary }) => ({
          judge: "kube-score",
          // One check looks at three resources, which have different answers.
          check: summary.startsWith("CPU limit") ? "container-cpu-limit" : check.id,
          object: `${kind}/${name}`,
          detail: `${path} ${summary}`,
        })),
      ),
  );
}

function kubeconform(objects: readonly Manifest[]): { readonly valid: number; readonly findings: Finding[] } {
  const text = objects.map((object) => stringify(object)).join("---\n");
  const args = ["-strict", "-output", "json", "-verbose", "-ignore-missing-schemas"];
  const {
    resources,
  }: {
    resources: readonly { kind: string; name: string; status: string; msg: string }[];
  } = JSON.parse(ask(judges.kubeconform, [...args, "-schema-location", judges.schemas, "-"], text));
  const wrong = resources.filter(({ status }) => status !== "statusValid");
  return {
    valid: resources.length - wrong.length,
    findings: wrong.map(({ kind, name, status, msg }) => ({
      judge: "kubeconform",
      check: status === "statusSkipped" ? "no schema" : "schema",
      object: `${kind}/${name}`,
      detail: msg,
    })),
  };
}

function answered(stack: string, finding: Finding): (answer: Answer) => boolean {
  return ({ judge, check, stacks, objects }) =>
    judge === finding.judge &&
    check === finding.check &&
    stacks.includes(stack) &&
    (objects?.includes(finding.object) ?? true);
}

describe.each(["dev", "prod"])("the %s stack", (stack) => {
  test("has no finding that is not answered, and no answer to nothing", async () => {
    const objects = await manifests(stack);
    const security = podSecurity(objects);
    const schema = kubeconform(objects);
    expect(security.pods).toBe(4);
    expect(schema.valid).toBeGreaterThan(25);
    const findings = [...security.findings, ...kubeScore(objects), ...schema.findings];
    expect(findings.filter((finding) => !answers.some(answered(stack, finding)))).toEqual([]);
    const stale = answers
      .filter(({ stacks }) => stacks.includes(stack))
      .filter((answer) => !findings.some((finding) => answered(stack, finding)(answer)));
    expect(stale).toEqual([]);
  });
});

test("every answer has a reason to be read", () => {
  for (const { reason, check } of answers) expect(reason.length, check).toBeGreaterThan(60);
});

/** A copy of the dev stack's download gateway, changed. */
async function broken(change: (text: string) => string): Promise<Manifest[]> {
  const objects = await manifests("dev");
  const gateway = objects.find(
    ({ kind, metadata }) => kind === "Deployment" && metadata.name === "geocrop-downloads",
  );
  const changed = change(JSON.stringify(gateway));
  expect(changed).not.toBe(JSON.stringify(gateway));
  const object: Manifest = JSON.parse(changed);
  return [object];
}

describe("the judges see", () => {
  test.each([
    [
      "a container that may gain rights",
      /"allowPrivilegeEscalation":false/,
      '"allowPrivilegeEscalation":true',
      "allowPrivilegeEscalation",
    ],
    ["a root user", /"runAsNonRoot":true/, '"runAsNonRoot":false', "runAsNonRoot"],
    [
      "no seccomp profile",
      /"seccompProfile":\{[^}]*\}/,
      '"shareProcessNamespace":false',
      "seccompProfile_restricted",
    ],
    ["the host's network", /"automountServiceAccountToken":false/, '"hostNetwork":true', "hostNamespaces"],
    ["a folder of the host", /"emptyDir":\{[^}]*\}/, '"hostPath":{"path":"/"}', "restrictedVolumes"],
    ["kept capabilities", /"drop":\["ALL"\]/, '"drop":[]', "capabilities_restricted"],
  ])("%s, by Pod Security", async (_, from, to, check) => {
    const { findings } = podSecurity(await broken((text) => text.replace(from, to)));
    expect(findings.map((finding) => finding.check)).toContain(check);
  });

  test("a misspelt field and a wrong type, by the schema", async () => {
    const misspelt = kubeconform(await broken((text) => text.replace('"replicas"', '"replica"')));
    expect(misspelt.findings[0]?.detail).toContain("replica");
    const mistyped = kubeconform(await broken((text) => text.replace('"replicas":1', '"replicas":"one"')));
    expect(mistyped.findings[0]?.check).toBe("schema");
  });

  test("no limit of memory and a writable root, by kube-score", async () => {
    const findings = kubeScore(
      await broken((text) =>
        text
          .replace(/"limits":\{[^}]*\}/, '"limits":{}')
          .replace('"readOnlyRootFilesystem":true', '"readOnlyRootFilesystem":false'),
      ),
    );
    const checks = findings.map(({ check }) => check);
    expect(checks).toContain("container-resources");
    expect(checks).toContain("container-security-context-readonlyrootfilesystem");
  });
});
