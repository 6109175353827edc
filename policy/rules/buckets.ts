import { resourceRule, stackRule, type Subject } from "../rule.ts";
import { asList, at, listAt, parseJson, textAt } from "../values.ts";

const bucketType = "minio:index/s3Bucket:S3Bucket";
const isBucket = ({ type }: Subject) => type === bucketType;

export const bucketPrivate = resourceRule({
  id: "bucket-private",
  description: "Buckets are private, and no bucket policy grants access without a key.",
  why: "Whatever is public is read by everybody who guesses a name, and no audit entry says who it was.",
  source: 'storage-security-notes.txt, "Bucket Policies Applied"',
  remedy:
    'Set acl to "private" and grant access by an identity\'s policy (components/access/iam-policies.ts).',
  level: "mandatory",
  defaults: {},
  check(subject) {
    if (isBucket(subject)) {
      const acl = textAt(subject.props, "acl");
      if (acl !== "private") return [`acl is ${acl ?? "not set"}, not "private"`];
    }
    if (subject.type !== "minio:index/s3BucketPolicy:S3BucketPolicy") return [];
    const statements = listAt(parseJson(textAt(subject.props, "policy")), "Statement");
    return statements
      .filter((statement) => at(statement, "Effect") === "Allow" && isAnybody(at(statement, "Principal")))
      .map((statement) => `statement ${textAt(statement, "Sid") ?? "?"} grants access to everyone`);
  },
});

function isAnybody(principal: unknown): boolean {
  return principal === "*" || asList(at(principal, "AWS")).includes("*");
}

export const bucketQuota = resourceRule({
  id: "bucket-quota",
  description: "Each bucket has a quota.",
  why: "A bucket without one fills the drives, and then no other bucket takes writes either.",
  source: 'storage-security-notes.txt, "Implement Bucket Quotas"',
  remedy: "Give the bucket a quota: buckets.<name>.quota in the stack file.",
  level: "mandatory",
  defaults: {},
  check(subject) {
    if (!isBucket(subject)) return [];
    const quota = at(subject.props, "quota");
    return typeof quota === "number" && quota > 0 ? [] : ["it has no quota"];
  },
});

export const bucketVersioned = stackRule({
  id: "bucket-versioned",
  description: "Each bucket keeps versions.",
  why: "Without versions, write access is enough to destroy data: an overwritten or deleted object is gone.",
  source: 'storage-security-notes.txt, "Enable Versioning"',
  remedy:
    'Declare an S3BucketVersioning with status "Enabled" for the bucket (components/minio/private-bucket.ts).',
  level: "mandatory",
  defaults: {},
  check(subjects) {
    const versioned = new Set(
      subjects
        .filter(({ type }) => type === "minio:index/s3BucketVersioning:S3BucketVersioning")
        .filter(({ props }) => at(props, "versioningConfiguration", "status") === "Enabled")
        .map(({ props }) => at(props, "bucket")),
    );
    return subjects
      .filter((subject) => isBucket(subject) && !versioned.has(at(subject.props, "bucket")))
      .map((subject) => ({ subject, message: "it keeps no versions" }));
  },
});

const dataTypes: Readonly<Record<string, (props: unknown) => boolean>> = {
  [bucketType]: () => true,
  "kubernetes:core/v1:Namespace": () => true,
  "kubernetes:core/v1:PersistentVolumeClaim": () => true,
  "kubernetes:apps/v1:StatefulSet": (props) => listAt(props, "spec", "volumeClaimTemplates").length > 0,
};

export const dataProtected = resourceRule({
  id: "data-protected",
  description: "What holds production data is protected, and no bucket empties itself to be deleted.",
  why: "A renamed resource or a wrong destroy would take the data along in one run.",
  source: "Pulumi documentation, resource option protect",
  remedy: "Set protectData to true in the stack file; lift it in a pull request of its own.",
  level: "mandatory",
  defaults: { stacks: ["prod"] },
  check({ urn, type, props, protect }, { stacks }) {
    const stack = /^urn:pulumi:([^:]+)::/.exec(urn)?.[1];
    if (stack === undefined || !stacks.includes(stack) || dataTypes[type]?.(props) !== true) return [];
    return [
      ...(protect ? [] : ["it is not protected"]),
      ...(at(props, "forceDestroy") === true ? ["forceDestroy is on"] : []),
    ];
  },
});
