import { at, listAt, textAt } from "./values.ts";

/** The kinds of volumes that Pod Security "restricted" allows (k8s.io/pod-security-admission v0.35.4). */
const allowedVolumes = new Set([
  "configMap",
  "csi",
  "downwardAPI",
  "emptyDir",
  "ephemeral",
  "image",
  "persistentVolumeClaim",
  "projected",
  "secret",
]);

/** A container of a pod, with the words that messages name it by. */
export interface LabelledContainer {
  readonly label: string;
  readonly spec: unknown;
}

/** Every container of a pod, those that only start it included. */
export function containersOf(pod: unknown): LabelledContainer[] {
  return ["initContainers", "containers", "ephemeralContainers"].flatMap((field) =>
    listAt(pod, field).map((spec) => ({ label: `container ${textAt(spec, "name") ?? "?"}`, spec })),
  );
}

/**
 * What of Pod Security "restricted" a PodSpec does not keep, and of the stack's own stricter rules: a read-only root
 * file system, no capability at all (not NET_BIND_SERVICE either), no service account token, no port of the node.
 *
 * @param pod a PodSpec, declared or live.
 * @returns one sentence a weakness; none for a restricted pod.
 */
export function podSecurityProblems(pod: unknown): string[] {
  return [
    ...["hostNetwork", "hostPID", "hostIPC"]
      .filter((field) => at(pod, field) === true)
      .map((field) => `${field} is on`),
    ...listAt(pod, "volumes").flatMap(volumeProblems),
    ...(at(pod, "automountServiceAccountToken") === false
      ? []
      : ["automountServiceAccountToken is not false"]),
    ...containersOf(pod).flatMap((container) => containerProblems(pod, container)),
  ];
}

function volumeProblems(volume: unknown): string[] {
  const label = `volume ${textAt(volume, "name") ?? "?"}`;
  const kinds = Object.entries(typeof volume === "object" && volume !== null ? volume : {})
    .filter(([key, value]) => key !== "name" && value !== undefined)
    .map(([key]) => key);
  const mountsToken = listAt(volume, "projected", "sources").some(
    (source) => at(source, "serviceAccountToken") !== undefined,
  );
  return [
    ...kinds.filter((kind) => !allowedVolumes.has(kind)).map((kind) => `${label} is a ${kind}`),
    ...(mountsToken ? [`${label} has a service account's token`] : []),
  ];
}

function containerProblems(pod: unknown, { label, spec }: LabelledContainer): string[] {
  const own = (...keys: string[]) => at(spec, "securityContext", ...keys);
  /** A container's own setting goes before its pod's. */
  const effective = (...keys: string[]) => own(...keys) ?? at(pod, "securityContext", ...keys);
  const profile = effective("seccompProfile", "type");
  const rules: readonly (readonly [holds: boolean, otherwise: string])[] = [
    [effective("runAsNonRoot") === true, "runAsNonRoot is not true"],
    [effective("runAsUser") !== 0, "runAsUser is 0"],
    [
      profile === "RuntimeDefault" || profile === "Localhost",
      "seccompProfile is not RuntimeDefault or Localhost",
    ],
    [own("privileged") !== true, "privileged is on"],
    [own("allowPrivilegeEscalation") === false, "allowPrivilegeEscalation is not false"],
    [own("readOnlyRootFilesystem") === true, "readOnlyRootFilesystem is not true"],
    [listAt(own("capabilities"), "drop").includes("ALL"), "capabilities.drop lacks ALL"],
    [listAt(own("capabilities"), "add").length === 0, "capabilities.add is not empty"],
    [
      listAt(spec, "ports").every((port) => (at(port, "hostPort") ?? 0) === 0),
      "ports has a hostPort, which is a port of the node",
    ],
  ];
  return rules.filter(([holds]) => !holds).map(([, otherwise]) => `${label}: ${otherwise}`);
}
