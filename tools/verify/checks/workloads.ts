import { ApiException, AppsV1Api, type V1Container, type V1PodSpec } from "@kubernetes/client-node";

import type { Check } from "../check.ts";
import type { Target } from "../target.ts";

/** The volumes that Pod Security "restricted" takes (k8s.io/pod-security-admission v0.35.4). */
const restrictedVolumes = new Set([
  "configMap",
  "downwardAPI",
  "emptyDir",
  "projected",
  "secret",
  "csi",
  "persistentVolumeClaim",
  "ephemeral",
  "image",
]);

interface PodLike {
  readonly name: string;
  readonly spec: V1PodSpec;
}

const containersOf = (spec: V1PodSpec): V1Container[] => [...(spec.initContainers ?? []), ...spec.containers];

/** Every running pod, and every template that makes pods. */
async function podsAndTemplates(target: Target): Promise<PodLike[]> {
  const apps = target.cluster.makeApiClient(AppsV1Api);
  const { namespace } = target;
  const [pods, deployments, sets, daemons] = await Promise.all([
    target.pods(),
    apps.listNamespacedDeployment({ namespace }),
    apps.listNamespacedStatefulSet({ namespace }),
    apps.listNamespacedDaemonSet({ namespace }),
  ]);
  const templates = [...deployments.items, ...sets.items, ...daemons.items].map(({ metadata, spec }) => ({
    name: `template of ${metadata?.name}`,
    spec: spec?.template.spec,
  }));
  return [
    ...pods.map(({ metadata, spec }) => ({ name: `pod ${metadata?.name}`, spec })),
    ...templates,
  ].flatMap(({ name, spec }) => (spec === undefined ? [] : [{ name, spec }]));
}

/** What of Pod Security "restricted", and of this stack's stricter rules, a pod does not keep. */
function weaknesses(spec: V1PodSpec): string[] {
  const pod = spec.securityContext;
  const found: string[] = [];
  if (spec.hostNetwork || spec.hostPID || spec.hostIPC) found.push("shares a namespace of the node");
  for (const volume of spec.volumes ?? []) {
    const kind =
      Object.entries(volume).find(([key, value]) => key !== "name" && value !== undefined)?.[0] ?? "emptyDir";
    if (!restrictedVolumes.has(kind)) found.push(`mounts a ${kind}`);
    if (volume.projected?.sources?.some(({ serviceAccountToken }) => serviceAccountToken !== undefined)) {
      found.push("mounts a service account's token");
    }
  }
  for (const { name, securityContext: own, ports = [] } of containersOf(spec)) {
    const say = (what: string): void => void found.push(`container ${name} ${what}`);
    if (own?.privileged) say("is privileged");
    if (own?.allowPrivilegeEscalation !== false) say("may gain privileges");
    if (!own?.capabilities?.drop?.includes("ALL") || (own.capabilities.add ?? []).length > 0)
      say("keeps capabilities");
    if ((own?.runAsNonRoot ?? pod?.runAsNonRoot) !== true || (own?.runAsUser ?? pod?.runAsUser) === 0)
      say("may run as root");
    if (!["RuntimeDefault", "Localhost"].includes((own?.seccompProfile ?? pod?.seccompProfile)?.type ?? "")) {
      say("has no seccomp profile");
    }
    if (own?.readOnlyRootFilesystem !== true) say("can write to its image's file system");
    if (ports.some(({ hostPort }) => hostPort)) say("takes a port of the node");
  }
  return found;
}

export const workloadChecks: readonly Check[] = [
  {
    id: "workloads.restricted",
    proves:
      '"Defense in Depth": every pod is under Pod Security "restricted", without a service account token, its root file system read-only',
    how: "reads every pod's and template's fields, and offers the API server a pod without a security context (as a dry run), which it must refuse",
    remedy: "run pulumi up; if the namespace's labels are gone, find who took them away",
    async run(target) {
      const all = await podsAndTemplates(target);
      const faults = all.flatMap(({ name, spec }) =>
        weaknesses(spec).map((weakness) => `${name}: ${weakness}`),
      );
      try {
        await target.core.createNamespacedPod({
          namespace: target.namespace,
          dryRun: "All",
          body: {
            metadata: { generateName: "verify-unrestricted-" },
            spec: { containers: [{ name: "x", image: target.image }] },
          },
        });
        faults.push(
          "the namespace takes a pod without a security context: its Pod Security labels are not in force",
        );
      } catch (error) {
        if (!(error instanceof ApiException) || error.code !== 403) throw error;
        if (!/PodSecurity/.test(String(error.body)))
          throw new Error("you may not create pods here", { cause: error });
      }
      return {
        seen: `${all.length} pods and templates; a pod without a security context is refused`,
        faults,
      };
    },
  },
  {
    id: "workloads.secrets",
    proves: '"Credentials: Stored as Kubernetes secrets", and reach pods as mounted files only',
    how: "no pod or template takes an environment variable from a Secret, and none has a Secret's value in its environment, arguments or annotations",
    remedy: "mount the Secret as a file (CIS 5.4.1)",
    async run(target) {
      const [all, secrets] = await Promise.all([
        podsAndTemplates(target),
        target.core.listNamespacedSecret({ namespace: target.namespace }),
      ]);
      const values = secrets.items.flatMap(({ metadata, data }) =>
        Object.entries(data ?? {})
          .filter(([key]) => !key.endsWith(".crt"))
          .map(([key, value]) => ({
            name: `${metadata?.name}/${key}`,
            value: Buffer.from(value, "base64").toString("utf8").trim(),
          }))
          .filter(({ value }) => value.length >= 8),
      );
      target.keepSecret(...values.map(({ value }) => value));
      const faults: string[] = [];
      for (const { name, spec } of all) {
        for (const { env = [], envFrom = [] } of containersOf(spec)) {
          for (const variable of env) {
            if (variable.valueFrom?.secretKeyRef) faults.push(`${name} has ${variable.name} from a Secret`);
          }
          for (const { secretRef } of envFrom) {
            if (secretRef) faults.push(`${name} has all of ${secretRef.name} in its environment`);
          }
        }
        const shown = JSON.stringify(
          containersOf(spec).map(({ env, args, command }) => [env, args, command]),
        );
        for (const secret of values) {
          if (shown.includes(JSON.stringify(secret.value).slice(1, -1))) {
            faults.push(`${name} shows the value of ${secret.name}`);
          }
        }
      }
      return {
        seen: `${values.length} secret values looked for in ${all.length} pods and templates`,
        faults,
      };
    },
  },
  {
    id: "workloads.images",
    proves: "every image is named by digest, and the stack's servers run the declared ones",
    how: "compares each container's image with the stack's, and looks for a digest in every other",
    remedy: "pin the image as name@sha256:... in the stack file and run pulumi up",
    async run(target) {
      const { images } = target.settings;
      const declared = new Map([
        ["minio", images.minio],
        ["signed-url-api", images.signedUrlApi],
        ["nginx", images.downloadGateway],
        ["audit-receiver", images.auditReceiver],
      ]);
      const all = await podsAndTemplates(target);
      const faults = all.flatMap(({ name, spec }) =>
        containersOf(spec).flatMap(({ name: container, image = "" }) => {
          const wanted = declared.get(container);
          if (wanted !== undefined && image !== wanted)
            return [`${name} runs ${image}, not the declared ${wanted}`];
          return /@sha256:[0-9a-f]{64}$/.test(image) ? [] : [`${name} runs ${image}, which has no digest`];
        }),
      );
      return { seen: `${all.length} pods and templates`, faults };
    },
  },
];
