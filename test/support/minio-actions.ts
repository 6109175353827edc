import { createHash } from "node:crypto";

/** A request that MinIO answers only to who may do one action. */
export interface ActionProbe {
  readonly action: string;
  readonly method: string;
  /** `{bucket}`, `{object}` and `{version}` stand for what it is tried on. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Why it is not tried by a user who may: it would end the server, change it, or never end itself. */
  readonly onlyRefused?: string;
}

function probe(
  action: string,
  method: string,
  path: string,
  more: Omit<ActionProbe, "action" | "method" | "path"> = {},
): ActionProbe {
  return { action, method, path, ...more };
}

const object = "/{bucket}/{object}";
const bucket = "/{bucket}";
const admin = "/minio/admin/v3";
const kms = "/minio/kms/v1";
const endless = { onlyRefused: "its answer never ends" };
const harmful = { onlyRefused: "it would change or end the server that the test runs on" };
const tags = { body: "<Tagging><TagSet/></Tagging>" };
/** MinIO looks at the digest before it looks at the right. */
const withDigest = (body: string) => ({
  body,
  headers: { "content-md5": createHash("md5").update(body).digest("base64") },
});
const asTags = { onlyRefused: "MinIO takes the right to the object's tags" };
const version = "versionId={version}";

/** Actions on objects, each by the request that needs it and no other action. */
export const objectProbes: readonly ActionProbe[] = [
  probe("s3:GetObject", "GET", object),
  probe("s3:GetObjectVersion", "GET", `${object}?${version}`, {
    onlyRefused: "MinIO takes the right to GetObject",
  }),
  probe("s3:GetObjectAttributes", "GET", `${object}?attributes=`, {
    headers: { "x-amz-object-attributes": "ETag" },
    onlyRefused: "it needs GetObject as well",
  }),
  probe("s3:GetObjectTagging", "GET", `${object}?tagging=`),
  probe("s3:GetObjectVersionTagging", "GET", `${object}?tagging=&${version}`, asTags),
  probe("s3:GetObjectRetention", "GET", `${object}?retention=`),
  probe("s3:GetObjectLegalHold", "GET", `${object}?legal-hold=`),
  probe("s3:PutObject", "PUT", object),
  probe("s3:PutObjectTagging", "PUT", `${object}?tagging=`, tags),
  probe("s3:PutObjectVersionTagging", "PUT", `${object}?tagging=&${version}`, { ...tags, ...asTags }),
  probe("s3:PutObjectLegalHold", "PUT", `${object}?legal-hold=`),
  probe("s3:DeleteObjectTagging", "DELETE", `${object}?tagging=`),
  probe("s3:DeleteObjectVersionTagging", "DELETE", `${object}?tagging=&${version}`, asTags),
  probe("s3:AbortMultipartUpload", "DELETE", `${object}?uploadId=none`),
  probe("s3:ListMultipartUploadParts", "GET", `${object}?uploadId=none`),
  probe("s3:RestoreObject", "POST", `${object}?restore=`),
  probe("s3:DeleteObject", "DELETE", object),
];

/** Actions on buckets. */
export const bucketProbes: readonly ActionProbe[] = [
  probe("s3:ListBucket", "GET", `${bucket}?list-type=2`),
  probe("s3:ListBucketVersions", "GET", `${bucket}?versions=`),
  probe("s3:ListBucketMultipartUploads", "GET", `${bucket}?uploads=`),
  probe("s3:GetBucketLocation", "GET", `${bucket}?location=`),
  probe("s3:GetBucketPolicy", "GET", `${bucket}?policy=`),
  probe("s3:PutBucketPolicy", "PUT", `${bucket}?policy=`, { body: "{}" }),
  probe("s3:GetBucketPolicyStatus", "GET", `${bucket}?policyStatus=`),
  probe("s3:GetBucketVersioning", "GET", `${bucket}?versioning=`),
  probe("s3:PutBucketVersioning", "PUT", `${bucket}?versioning=`, { body: "<x/>" }),
  probe("s3:GetBucketTagging", "GET", `${bucket}?tagging=`),
  probe("s3:PutBucketTagging", "PUT", `${bucket}?tagging=`, { body: "<x/>" }),
  probe("s3:GetLifecycleConfiguration", "GET", `${bucket}?lifecycle=`),
  probe("s3:PutLifecycleConfiguration", "PUT", `${bucket}?lifecycle=`, withDigest("<x/>")),
  probe("s3:GetEncryptionConfiguration", "GET", `${bucket}?encryption=`),
  probe("s3:PutEncryptionConfiguration", "PUT", `${bucket}?encryption=`, { body: "<x/>" }),
  probe("s3:GetBucketNotification", "GET", `${bucket}?notification=`),
  probe("s3:PutBucketNotification", "PUT", `${bucket}?notification=`, { body: "<x/>" }),
  probe("s3:GetBucketObjectLockConfiguration", "GET", `${bucket}?object-lock=`),
  probe("s3:PutBucketObjectLockConfiguration", "PUT", `${bucket}?object-lock=`, { body: "<x/>" }),
  probe("s3:GetReplicationConfiguration", "GET", `${bucket}?replication=`),
  probe("s3:PutReplicationConfiguration", "PUT", `${bucket}?replication=`, { body: "<x/>" }),
  probe("s3:ResetBucketReplicationState", "PUT", `${bucket}?replication-reset=`),
  probe("s3:GetBucketCors", "GET", `${bucket}?cors=`),
  probe("s3:PutBucketCors", "PUT", `${bucket}?cors=`),
  probe("s3:DeleteBucketCors", "DELETE", `${bucket}?cors=`),
  probe("s3:ListenBucketNotification", "GET", `${bucket}?events=s3:ObjectCreated:*`, endless),
  probe("s3:ForceDeleteBucket", "DELETE", bucket, {
    headers: { "x-minio-force-delete": "true" },
    ...harmful,
  }),
  probe("s3:DeleteBucketPolicy", "DELETE", `${bucket}?policy=`),
  probe("s3:CreateBucket", "PUT", bucket),
  probe("s3:DeleteBucket", "DELETE", bucket),
];

/** Actions on the server. */
export const serverProbes: readonly ActionProbe[] = [
  probe("s3:ListAllMyBuckets", "GET", "/"),
  probe("s3:ListenNotification", "GET", "/?events=s3:ObjectCreated:*", endless),
  probe("admin:ServerInfo", "GET", `${admin}/info`),
  probe("admin:StorageInfo", "GET", `${admin}/storageinfo`),
  probe("admin:DataUsageInfo", "GET", `${admin}/datausageinfo`),
  probe("admin:OBDInfo", "GET", `${admin}/healthinfo?deadline=1s`, endless),
  probe("admin:ServerTrace", "GET", `${admin}/trace`, endless),
  probe("admin:ConsoleLog", "GET", `${admin}/log`, endless),
  probe("admin:Profiling", "POST", `${admin}/profile?profilerType=none`, harmful),
  probe("admin:InspectData", "GET", `${admin}/inspect-data?volume=none&file=none`, {
    onlyRefused: "MinIO takes no policy that grants it",
  }),
  probe("admin:Heal", "POST", `${admin}/background-heal/status`),
  probe("admin:Decommission", "POST", `${admin}/pools/decommission?pool=none`),
  probe("admin:Rebalance", "GET", `${admin}/rebalance/status`),
  probe("admin:ServiceRestart", "POST", `${admin}/service?action=restart&type=2&dry-run=true`, harmful),
  probe("admin:ServiceStop", "POST", `${admin}/service?action=stop&type=2&dry-run=true`, harmful),
  probe("admin:ServiceFreeze", "POST", `${admin}/service?action=freeze&type=2&dry-run=true`, harmful),
  probe("admin:ServerUpdate", "POST", `${admin}/update?updateURL=none&type=2&dry-run=true`, harmful),
  probe("admin:ConfigUpdate", "GET", `${admin}/get-config-kv?key=api`),
  probe("admin:ConfigUpdate", "PUT", `${admin}/set-config-kv`, { body: "none" }),
  probe("admin:SetTier", "PUT", `${admin}/tier`),
  probe("admin:ListTier", "GET", `${admin}/tier`),
  probe("admin:Prometheus", "GET", "/minio/v2/metrics/cluster", {
    onlyRefused: "it takes tokens, not signatures",
  }),
  probe("admin:ReplicationDiff", "POST", `${admin}/replication/diff?bucket={bucket}`),
  probe("admin:GetBucketTarget", "GET", `${admin}/list-remote-targets?bucket={bucket}&type=replication`),
  probe("admin:SetBucketTarget", "PUT", `${admin}/set-remote-target?bucket={bucket}`),
  probe("admin:ExportBucketMetadata", "GET", `${admin}/export-bucket-metadata?bucket={bucket}`),
  probe("admin:ImportBucketMetadata", "PUT", `${admin}/import-bucket-metadata?bucket={bucket}`),
  probe("admin:ExportIAM", "GET", `${admin}/export-iam`),
  probe("admin:ImportIAM", "PUT", `${admin}/import-iam`),
  probe("admin:StartBatchJob", "POST", `${admin}/start-job`),
  probe("admin:ListBatchJobs", "GET", `${admin}/list-jobs`),
  probe("admin:DescribeBatchJob", "GET", `${admin}/describe-job?jobId=none`),
  probe("admin:CancelBatchJob", "DELETE", `${admin}/cancel-job?id=none`),
  probe("admin:SiteReplicationInfo", "GET", `${admin}/site-replication/info`),
  probe("admin:SiteReplicationAdd", "PUT", `${admin}/site-replication/add`),
  probe("admin:SiteReplicationRemove", "PUT", `${admin}/site-replication/remove`),
  probe("admin:SiteReplicationResync", "PUT", `${admin}/site-replication/resync/op?operation=none`),
  probe("admin:SiteReplicationOperation", "GET", `${admin}/site-replication/peer/idp-settings`, {
    onlyRefused: "it needs more rights than this one",
  }),
  probe("admin:KMSCreateKey", "POST", `${admin}/kms/key/create?key-id=none`),
  probe("admin:KMSKeyStatus", "GET", `${admin}/kms/key/status`),
  probe("kms:Status", "GET", `${kms}/status`),
  probe("kms:Metrics", "GET", `${kms}/metrics`),
  probe("kms:API", "GET", `${kms}/apis`),
  probe("kms:Version", "GET", `${kms}/version`),
  probe("kms:CreateKey", "POST", `${kms}/key/create?key-id=none`),
  probe("kms:ListKeys", "GET", `${kms}/key/list?pattern=none`),
  probe("kms:KeyStatus", "GET", `${kms}/key/status?key-id=none`),
  probe("admin:CreateUser", "PUT", `${admin}/add-user?accessKey=nobody-of-ours`),
  probe("admin:DeleteUser", "DELETE", `${admin}/remove-user?accessKey=nobody-of-ours`),
  probe("admin:ListUsers", "GET", `${admin}/list-users`),
  probe("admin:EnableUser", "PUT", `${admin}/set-user-status?accessKey=nobody-of-ours&status=enabled`),
  probe("admin:GetUser", "GET", `${admin}/user-info?accessKey=nobody-of-ours`),
  probe("admin:ListGroups", "GET", `${admin}/groups`),
  probe("admin:GetGroup", "GET", `${admin}/group?group=none`),
  probe("admin:AddUserToGroup", "PUT", `${admin}/update-group-members`),
  probe("admin:EnableGroup", "PUT", `${admin}/set-group-status?group=none&status=enabled`),
  probe("admin:CreatePolicy", "PUT", `${admin}/add-canned-policy?name=none`, { body: "{" }),
  probe("admin:DeletePolicy", "DELETE", `${admin}/remove-canned-policy?name=none`),
  probe("admin:GetPolicy", "GET", `${admin}/info-canned-policy?name=none`),
  probe("admin:ListUserPolicies", "GET", `${admin}/list-canned-policies`),
  probe(
    "admin:AttachUserOrGroupPolicy",
    "PUT",
    `${admin}/set-user-or-group-policy?policyName=none&userOrGroup=none&isGroup=false`,
  ),
  probe("admin:ListServiceAccounts", "GET", `${admin}/list-service-accounts?user=other-user`),
  probe("admin:ListTemporaryAccounts", "GET", `${admin}/temporary-account-info?accessKey=none`),
  probe("admin:GetBucketQuota", "GET", `${admin}/get-bucket-quota?bucket={bucket}`),
  probe("admin:SetBucketQuota", "PUT", `${admin}/set-bucket-quota?bucket={bucket}`),
];

/** Actions that MinIO knows and no request of its own needs alone, with what stands for them. */
export const unprobed: Readonly<Record<string, string>> = {
  "s3:*": "a pattern",
  "admin:*": "a pattern",
  "kms:*": "a pattern",
  "s3:BypassGovernanceRetention": "only with object lock, which no bucket here has",
  "s3:DeleteObjectVersion": "MinIO asks for DeleteObject, and for this one only where it is denied",
  "s3:GetObjectVersionAttributes": "MinIO asks for GetObjectVersion and GetObjectAttributes",
  "s3:PutObjectRetention": "only with object lock, which no bucket here has",
  "s3:GetObjectVersionForReplication": "asked for beside GetObject",
  "s3:HeadBucket": "ListBucket gives the same",
  "s3:PutObjectFanOut": "a browser's POST, which needs PutObject first",
  "s3:ReplicateDelete": "DeleteObject comes first",
  "s3:ReplicateObject": "PutObject comes first: see the replays",
  "s3:ReplicateTags": "PutObjectTagging comes first",
  "admin:CreateServiceAccount": "asked for by a sealed request: tried apart",
  "admin:UpdateServiceAccount": "asked for by a sealed request, as CreateServiceAccount",
  "admin:RemoveServiceAccount": "who may not is told that there is none",
  "admin:BandwidthMonitor": "only where there are several pods",
  "admin:ForceUnlock": "only where there are several pods",
  "admin:TopLocksInfo": "only where there are several pods",
  "admin:DisableUser": "MinIO asks for EnableUser",
  "admin:DisableGroup": "MinIO asks for EnableGroup",
  "admin:RemoveUserFromGroup": "MinIO asks for AddUserToGroup",
  "admin:UpdatePolicyAssociation": "asked for by a sealed request, as AttachUserOrGroupPolicy",
  "admin:GenerateBatchJob": "asked for by the client alone",
  "admin:PoolInfo": "not asked for by any handler",
  "admin:PoolList": "not asked for by any handler",
  "admin:ClusterInfo": "not asked for by any handler",
  "admin:DriveInfo": "not asked for by any handler",
  "admin:SetInfo": "not asked for by any handler",
  "admin:LicenseInfo": "not asked for by any handler",
  "admin:SiteReplicationDisable": "not asked for by any handler",
  "kms:AssignPolicy": "of another server",
  "kms:AuditLog": "of another server",
  "kms:DeleteIdentity": "of another server",
  "kms:DeleteKey": "of another server",
  "kms:DeletePolicy": "of another server",
  "kms:DescribeIdentity": "of another server",
  "kms:DescribePolicy": "of another server",
  "kms:DescribeSelfIdentity": "of another server",
  "kms:ErrorLog": "of another server",
  "kms:GetPolicy": "of another server",
  "kms:ImportKey": "of another server",
  "kms:ListIdentities": "of another server",
  "kms:ListPolicies": "of another server",
  "kms:SetPolicy": "of another server",
  "sts:AssumeRoleWithWebIdentity": "no identity provider is set up",
};

/** Every action of minio/pkg v3.1.3, policy/{action,admin-action,kms-action,sts-action}.go. */
export const everyAction = `
admin:* admin:AddUserToGroup admin:AttachUserOrGroupPolicy admin:BandwidthMonitor admin:CancelBatchJob
admin:ClusterInfo admin:ConfigUpdate admin:ConsoleLog admin:CreatePolicy admin:CreateServiceAccount
admin:CreateUser admin:DataUsageInfo admin:Decommission admin:DeletePolicy admin:DeleteUser
admin:DescribeBatchJob admin:DisableGroup admin:DisableUser admin:DriveInfo admin:EnableGroup admin:EnableUser
admin:ExportBucketMetadata admin:ExportIAM admin:ForceUnlock admin:GenerateBatchJob admin:GetBucketQuota
admin:GetBucketTarget admin:GetGroup admin:GetPolicy admin:GetUser admin:Heal admin:ImportBucketMetadata
admin:ImportIAM admin:InspectData admin:KMSCreateKey admin:KMSKeyStatus admin:LicenseInfo admin:ListBatchJobs
admin:ListGroups admin:ListServiceAccounts admin:ListTemporaryAccounts admin:ListTier admin:ListUserPolicies
admin:ListUsers admin:OBDInfo admin:PoolInfo admin:PoolList admin:Profiling admin:Prometheus admin:Rebalance
admin:RemoveServiceAccount admin:RemoveUserFromGroup admin:ReplicationDiff admin:ServerInfo admin:ServerTrace
admin:ServerUpdate admin:ServiceFreeze admin:ServiceRestart admin:ServiceStop admin:SetBucketQuota
admin:SetBucketTarget admin:SetInfo admin:SetTier admin:SiteReplicationAdd admin:SiteReplicationDisable
admin:SiteReplicationInfo admin:SiteReplicationOperation admin:SiteReplicationRemove
admin:SiteReplicationResync admin:StartBatchJob admin:StorageInfo admin:TopLocksInfo
admin:UpdatePolicyAssociation admin:UpdateServiceAccount kms:* kms:API kms:AssignPolicy kms:AuditLog
kms:CreateKey kms:DeleteIdentity kms:DeleteKey kms:DeletePolicy kms:DescribeIdentity kms:DescribePolicy
kms:DescribeSelfIdentity kms:ErrorLog kms:GetPolicy kms:ImportKey kms:KeyStatus kms:ListIdentities
kms:ListKeys kms:ListPolicies kms:Metrics kms:SetPolicy kms:Status kms:Version s3:* s3:AbortMultipartUpload
s3:BypassGovernanceRetention s3:CreateBucket s3:DeleteBucket s3:DeleteBucketCors s3:DeleteBucketPolicy
s3:DeleteObject s3:DeleteObjectTagging s3:DeleteObjectVersion s3:DeleteObjectVersionTagging
s3:ForceDeleteBucket s3:GetBucketCors s3:GetBucketLocation s3:GetBucketNotification
s3:GetBucketObjectLockConfiguration s3:GetBucketPolicy s3:GetBucketPolicyStatus s3:GetBucketTagging
s3:GetBucketVersioning s3:GetEncryptionConfiguration s3:GetLifecycleConfiguration s3:GetObject
s3:GetObjectAttributes s3:GetObjectLegalHold s3:GetObjectRetention s3:GetObjectTagging s3:GetObjectVersion
s3:GetObjectVersionAttributes s3:GetObjectVersionForReplication s3:GetObjectVersionTagging
s3:GetReplicationConfiguration s3:HeadBucket s3:ListAllMyBuckets s3:ListBucket s3:ListBucketMultipartUploads
s3:ListBucketVersions s3:ListMultipartUploadParts s3:ListenBucketNotification s3:ListenNotification
s3:PutBucketCors s3:PutBucketNotification s3:PutBucketObjectLockConfiguration s3:PutBucketPolicy
s3:PutBucketTagging s3:PutBucketVersioning s3:PutEncryptionConfiguration s3:PutLifecycleConfiguration
s3:PutObject s3:PutObjectFanOut s3:PutObjectLegalHold s3:PutObjectRetention s3:PutObjectTagging
s3:PutObjectVersionTagging s3:PutReplicationConfiguration s3:ReplicateDelete s3:ReplicateObject
s3:ReplicateTags s3:ResetBucketReplicationState s3:RestoreObject sts:AssumeRoleWithWebIdentity
`
  .trim()
  .split(/\s+/);
