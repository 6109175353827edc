import { isWithin, type PropertyChange } from "./properties.ts";
import { type JsonObject, type Resource } from "../program/recording.ts";

/**
 * Inputs that cannot change on a live object, so that the provider makes a new one. Read from the sources of
 * @pulumi/kubernetes 4.34 (provider/pkg/provider/diff.go) and of the Terraform providers under @pulumi/minio 0.17
 * (`ForceNew`), @pulumi/random and @pulumi/tls (`RequiresReplace`). None of a provider's own inputs is among them: the
 * kubernetes provider asks for one only when the kubeconfig leads to another cluster, minio 0.17 never does.
 */
const immutableInputs: Readonly<Record<string, readonly string[]>> = {
  "kubernetes:apps/v1:StatefulSet": [
    "spec.podManagementPolicy",
    "spec.revisionHistoryLimit",
    "spec.selector",
    "spec.serviceName",
    "spec.volumeClaimTemplates",
  ],
  "kubernetes:apps/v1:Deployment": ["spec.selector"],
  "kubernetes:apps/v1:DaemonSet": ["spec.selector"],
  "kubernetes:batch/v1:Job": ["spec.completions", "spec.parallelism", "spec.selector", "spec.template"],
  "kubernetes:core/v1:PersistentVolumeClaim": [
    "spec.accessModes",
    "spec.selector",
    "spec.storageClassName",
    "spec.volumeName",
  ],
  "kubernetes:core/v1:Secret": ["type"],
  "kubernetes:core/v1:Service": ["spec.clusterIP"],
  "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding": ["roleRef"],
  "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding": ["roleRef"],
  "kubernetes:storage.k8s.io/v1:StorageClass": ["parameters", "provisioner"],
  "pulumi:providers:kubernetes": ["cluster", "context", "kubeconfig", "renderYamlToDirectory"],
  "minio:index/s3Bucket:S3Bucket": ["bucket", "bucketPrefix"],
  "minio:index/s3BucketPolicy:S3BucketPolicy": ["bucket"],
  "minio:index/s3BucketVersioning:S3BucketVersioning": ["bucket"],
  "minio:index/s3BucketServerSideEncryption:S3BucketServerSideEncryption": ["bucket"],
  "minio:index/s3BucketNotification:S3BucketNotification": ["bucket"],
  "minio:index/ilmPolicy:IlmPolicy": ["bucket"],
  "minio:index/iamPolicy:IamPolicy": ["name", "namePrefix"],
  "minio:index/iamUser:IamUser": ["name"],
  "minio:index/iamUserPolicyAttachment:IamUserPolicyAttachment": ["policyName", "userName"],
  "minio:index/iamServiceAccount:IamServiceAccount": ["targetUser"],
};

/** Of these, no input can change but the ones listed: a generated value is made anew. */
const generated: Readonly<Record<string, readonly string[]>> = {
  random: [],
  tls: ["earlyRenewalHours"],
};

/**
 * The changed paths that make the provider replace the resource; none means that it is changed in place.
 *
 * @param provider the inputs of the resource's own provider.
 */
export function replacingPaths(
  resource: Pick<Resource, "type" | "replaceOnChanges" | "inputs">,
  changes: readonly Pick<PropertyChange, "path">[],
  provider: JsonObject,
): string[] {
  const { type, replaceOnChanges, inputs } = resource;
  const paths = changes.map(({ path }) => path);
  const [family = ""] = type.split(":", 1);
  const inPlace = generated[family];
  if (inPlace !== undefined) return paths.filter((path) => !inPlace.includes(path));
  const immutable = [
    ...(immutableInputs[type] ?? []),
    ...(family === "kubernetes" ? ["metadata.name", "metadata.namespace"] : []),
    ...immutableData(type, inputs, provider),
    ...replaceOnChanges.map((path) => (path === "*" ? "" : path)),
  ];
  return paths.filter((path) => immutable.some((input) => input === "" || isWithin(path, input)));
}

/** Secrets and ConfigMaps keep their data for life, unless their provider was told otherwise. */
function immutableData(type: string, inputs: JsonObject, provider: JsonObject): string[] {
  const isImmutable = (option: string) =>
    inputs["immutable"] === true || (provider[option] !== "true" && provider[option] !== true);
  if (type === "kubernetes:core/v1:Secret" && isImmutable("enableSecretMutable"))
    return ["data", "stringData"];
  if (type === "kubernetes:core/v1:ConfigMap" && isImmutable("enableConfigMapMutable"))
    return ["binaryData", "data"];
  return [];
}

/** The types of resource whose rules are known here; of others, every change is taken to be made in place. */
export function isKnownType(type: string): boolean {
  const [family = ""] = type.split(":", 1);
  return (
    family === "kubernetes" || family in generated || type in immutableInputs || type.startsWith("pulumi:")
  );
}
