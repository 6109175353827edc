import { minioRelease } from "../../config/images.ts";
import { oldestMinioRelease, sandboxRegistry } from "../../config/names.ts";
import { containersOf, podSecurityProblems } from "../pod-security.ts";
import { resourceRule, type Subject } from "../rule.ts";
import { at, listAt, textAt } from "../values.ts";

const templateOf: Readonly<Record<string, readonly string[]>> = {
  Pod: ["spec"],
  Deployment: ["spec", "template", "spec"],
  StatefulSet: ["spec", "template", "spec"],
  DaemonSet: ["spec", "template", "spec"],
  ReplicaSet: ["spec", "template", "spec"],
  Job: ["spec", "template", "spec"],
  CronJob: ["spec", "jobTemplate", "spec", "template", "spec"],
};

/** The pods that a resource makes; undefined where it makes none. */
function podSpec({ type, props }: Subject): unknown {
  if (!type.startsWith("kubernetes:")) return undefined;
  const path = templateOf[type.split(":").at(-1) ?? ""];
  return path === undefined ? undefined : at(props, ...path);
}

export const imageDigest = resourceRule({
  id: "image-digest",
  description: "Images are named by digest.",
  why: "A tag can be moved to another image: what was reviewed is then not what runs.",
  source: "docs/configuration.md; Kubernetes documentation, Images: image digests",
  remedy: "Write registry/name@sha256:<digest>; images.yml does so by pull request.",
  level: "mandatory",
  defaults: { exemptPrefixes: [`${sandboxRegistry}/`] },
  check(subject, { exemptPrefixes }) {
    return containersOf(podSpec(subject)).flatMap(({ label, spec }) => {
      const image = textAt(spec, "image") ?? "";
      const isPinned = /@sha256:[0-9a-f]{64}$/.test(image);
      if (isPinned || exemptPrefixes.some((prefix) => image.startsWith(prefix))) return [];
      return [`${label}: image ${image === "" ? "is missing" : `${image} has no digest`}`];
    });
  },
});

export const minioImageFloor = resourceRule({
  id: "minio-image-floor",
  description: "MinIO is not older than the first release without a known privilege escalation.",
  why: "Before it, a restricted service account mints itself an unrestricted one (CVE-2025-62506).",
  source: "CVE-2025-62506; docs/decisions/0003-minio-image.md",
  remedy: "Use a maintained build of a later release (docs/configuration.md).",
  level: "mandatory",
  defaults: { oldest: oldestMinioRelease },
  check(subject, { oldest }) {
    return containersOf(podSpec(subject)).flatMap(({ label, spec }) => {
      const image = textAt(spec, "image") ?? "";
      const release = minioRelease(image);
      return release !== undefined && release < oldest
        ? [`${label}: release ${release} is older than ${oldest}`]
        : [];
    });
  },
});

export const podSecurity = resourceRule({
  id: "pod-security-restricted",
  description: 'Pods keep to Pod Security "restricted", with a read-only root file system and no token.',
  why: "What breaks out of a process should find no root, no capability, no host and no API token.",
  source: "Kubernetes Pod Security Standards; CIS Kubernetes 5.1.6, 5.2",
  remedy: "Spread restrictedPod and restrictedContainer into it (components/kubernetes/workload.ts).",
  level: "mandatory",
  defaults: {},
  check(subject) {
    const pod = podSpec(subject);
    return pod === undefined ? [] : podSecurityProblems(pod);
  },
});

export const noSecretInEnv = resourceRule({
  id: "no-secret-in-env",
  description: "Secrets reach pods as files, not as environment variables.",
  why: "The environment is inherited by every child process and ends up in crash reports and logs.",
  source: "CIS Kubernetes 5.4.1",
  remedy: "Mount the Secret as a volume and name its file in the variable (…_FILE, …_DIR).",
  level: "mandatory",
  defaults: {},
  check(subject) {
    return containersOf(podSpec(subject)).flatMap(({ label, spec }) =>
      secretVariables(spec).map((problem) => `${label}: ${problem}`),
    );
  },
});

function secretVariables(container: unknown): string[] {
  const whole = listAt(container, "envFrom")
    .filter((source) => at(source, "secretRef") !== undefined)
    .map(() => "takes a whole Secret into its environment");
  const single = listAt(container, "env")
    .filter((variable) => {
      const isNamedSo = /(PASSWORD|SECRET|TOKEN|(ACCESS|SECRET|PRIVATE)_KEY)$/.test(
        textAt(variable, "name") ?? "",
      );
      return (
        at(variable, "valueFrom", "secretKeyRef") !== undefined ||
        (isNamedSo && at(variable, "value") !== undefined)
      );
    })
    .map((variable) => `${textAt(variable, "name") ?? "?"} holds a secret`);
  return [...whole, ...single];
}

export const memoryBounded = resourceRule({
  id: "memory-bounded",
  description: "Containers ask for the memory that they may use, and for CPU.",
  why: "Without a request the scheduler packs a node until pods are killed; MinIO's are not the last to go.",
  source: "Kubernetes application security checklist",
  remedy: "Use resourceRequirements (components/kubernetes/workload.ts).",
  level: "advisory",
  defaults: {},
  check(subject) {
    return containersOf(podSpec(subject)).flatMap(({ label, spec }) =>
      (
        [
          ["requests", "cpu"],
          ["requests", "memory"],
          ["limits", "memory"],
        ] as const
      )
        .filter((path) => at(spec, "resources", ...path) === undefined)
        .map((path) => `${label}: resources.${path.join(".")} is missing`),
    );
  },
});
