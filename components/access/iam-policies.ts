import { type Identity, inputBuckets, resultsBucket } from "../../config/names.ts";

/** The longest life of a presigned URL in milliseconds, whatever its X-Amz-Expires says (60 minutes). */
const longestSignatureAge = 60 * 60 * 1000;

interface Statement {
  readonly Sid: string;
  readonly Effect: "Allow" | "Deny";
  readonly Action: readonly string[];
  readonly Resource?: readonly string[];
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;
}

/** Statements as the JSON that MinIO stores; the same statements give the same text. */
function policyDocument(...statements: readonly Statement[]): string {
  return JSON.stringify({ Version: "2012-10-17", Statement: statements });
}

const bucketArn = (bucket: string) => `arn:aws:s3:::${bucket}`;
const objectsArn = (bucket: string, pattern = "*") => `arn:aws:s3:::${bucket}/${pattern}`;

/**
 * Plain HTTP is refused for every identity. MinIO takes `aws:SecureTransport` from the connection it
 * terminates itself (7aac2a2, cmd/bucket-policy.go).
 */
const onlyOverTls = (buckets: readonly string[]): Statement => ({
  Sid: "OnlyOverTls",
  Effect: "Deny",
  Action: ["s3:*"],
  Resource: buckets.flatMap((bucket) => [bucketArn(bucket), objectsArn(bucket)]),
  Condition: { Bool: { "aws:SecureTransport": "false" } },
});

/**
 * MinIO lets every user make service accounts for itself, turn its own secret and read its own record, unless that
 * is denied (7aac2a2, cmd/admin-handlers-users.go, DenyOnly): a stolen key could outlive its turn, or lock its
 * owner out.
 */
const noAdministration: Statement = { Sid: "NoAdministration", Effect: "Deny", Action: ["admin:*"] };

/**
 * The identity that signs download URLs. Every URL shows its access key, and the server holes known of MinIO
 * 7aac2a2 (CVE-2026-40344, CVE-2026-41145) turn a known key into writes where that key may write: this one may
 * only read results, only by signed query, and only with signatures younger than 60 minutes.
 *
 * `s3:signatureAge` is in milliseconds and absent from header-signed requests, which the second statement
 * refuses (measured on 7aac2a2).
 */
export function apiSignerPolicy(resultsBucket: string): string {
  const jobs = [objectsArn(resultsBucket, "jobs/*")];
  return policyDocument(
    { Sid: "ReadJobs", Effect: "Allow", Action: ["s3:GetObject"], Resource: jobs },
    {
      Sid: "OnlyByQuerySignature",
      Effect: "Deny",
      Action: ["s3:*"],
      Resource: [bucketArn(resultsBucket), objectsArn(resultsBucket)],
      Condition: { StringNotEquals: { "s3:authType": "REST-QUERY-STRING" } },
    },
    {
      Sid: "OnlyYoungSignatures",
      Effect: "Deny",
      Action: ["s3:*"],
      Resource: [bucketArn(resultsBucket), objectsArn(resultsBucket)],
      Condition: { NumericGreaterThan: { "s3:signatureAge": String(longestSignatureAge) } },
    },
    onlyOverTls([resultsBucket]),
    noAdministration,
  );
}

/**
 * Workers read what they compute from and write results; a job's manifest, which says whose the job is, is
 * out of their reach, so that no worker can give a result away.
 */
export function workerPolicy(inputs: readonly string[], resultsBucket: string): string {
  return policyDocument(
    {
      Sid: "ReadInputs",
      Effect: "Allow",
      Action: ["s3:GetObject"],
      Resource: inputs.map((bucket) => objectsArn(bucket)),
    },
    {
      Sid: "ListInputs",
      Effect: "Allow",
      Action: ["s3:ListBucket", "s3:GetBucketLocation"],
      Resource: inputs.map(bucketArn),
    },
    {
      Sid: "WriteResults",
      Effect: "Allow",
      Action: ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
      Resource: [objectsArn(resultsBucket, "jobs/*")],
    },
    {
      Sid: "LeaveManifests",
      Effect: "Deny",
      Action: ["s3:*"],
      Resource: [objectsArn(resultsBucket, "jobs/*/job.json")],
    },
    onlyOverTls([...inputs, resultsBucket]),
    noAdministration,
  );
}

/** The part of geocrop-api that takes jobs in: it says whose a job is, and nothing else. */
export function jobSubmitterPolicy(resultsBucket: string): string {
  return policyDocument(
    {
      Sid: "WriteManifests",
      Effect: "Allow",
      Action: ["s3:PutObject"],
      Resource: [objectsArn(resultsBucket, "jobs/*/job.json")],
    },
    onlyOverTls([resultsBucket]),
    noAdministration,
  );
}

/**
 * What Pulumi works with once root has made it: buckets' settings, users and policies; no object is read.
 *
 * It is not bound to the declared buckets: one that has just been taken out of the program is deleted after this
 * policy was updated. Nor would that bind it, for it makes users and policies.
 *
 * @param emptiesBuckets whether it may delete objects, so that `pulumi destroy` can take full buckets with it.
 */
export function provisionerPolicy(emptiesBuckets: boolean): string {
  return policyDocument(
    {
      Sid: "ManageIdentities",
      Effect: "Allow",
      Action: [
        "admin:AttachUserOrGroupPolicy",
        "admin:CreatePolicy",
        "admin:CreateUser",
        "admin:DeletePolicy",
        "admin:DeleteUser",
        "admin:DisableUser",
        "admin:EnableUser",
        "admin:GetPolicy",
        "admin:GetUser",
        // What nobody declared is looked for with these two (tools/verify/checks/identities.ts).
        "admin:ListGroups",
        "admin:ListServiceAccounts",
        "admin:ListUserPolicies",
        "admin:ListUsers",
        "admin:UpdatePolicyAssociation",
        "admin:GetBucketQuota",
        "admin:SetBucketQuota",
      ],
    },
    { Sid: "FindBuckets", Effect: "Allow", Action: ["s3:ListAllMyBuckets"], Resource: ["arn:aws:s3:::*"] },
    {
      Sid: "ManageBuckets",
      Effect: "Allow",
      Action: [
        "s3:CreateBucket",
        "s3:DeleteBucket",
        "s3:GetBucketLocation",
        "s3:GetBucketObjectLockConfiguration",
        "s3:GetBucketPolicy",
        "s3:DeleteBucketPolicy",
        "s3:GetBucketVersioning",
        "s3:PutBucketVersioning",
        "s3:GetLifecycleConfiguration",
        "s3:PutLifecycleConfiguration",
        "s3:ListBucket",
        ...(emptiesBuckets ? ["s3:ListBucketVersions", "s3:ForceDeleteBucket"] : []),
      ],
      Resource: [bucketArn("*")],
    },
    ...(emptiesBuckets
      ? [
          {
            Sid: "EmptyBuckets",
            Effect: "Allow",
            Action: ["s3:DeleteObject", "s3:DeleteObjectVersion"],
            Resource: [objectsArn("*")],
          } as const,
        ]
      : []),
    onlyOverTls(["*"]),
  );
}

/** Each identity's policy in a stack. */
export function declaredPolicies(settings: { readonly protectData: boolean }): Record<Identity, string> {
  return {
    provisioner: provisionerPolicy(!settings.protectData),
    "api-signer": apiSignerPolicy(resultsBucket),
    worker: workerPolicy(inputBuckets, resultsBucket),
    "job-submitter": jobSubmitterPolicy(resultsBucket),
  };
}
