import { describe, expect, test } from "vitest";

import type { Rule, Subject } from "../../../policy/rule.ts";
import { rules } from "../../../policy/rules/index.ts";

type Props = Record<string, unknown>;

const statefulSet = "kubernetes:apps/v1:StatefulSet";
const service = "kubernetes:core/v1:Service";
const networkPolicy = "kubernetes:networking.k8s.io/v1:NetworkPolicy";
const bucket = "minio:index/s3Bucket:S3Bucket";
const versioning = "minio:index/s3BucketVersioning:S3BucketVersioning";
const iamPolicy = "minio:index/iamPolicy:IamPolicy";

function subject(type: string, props: unknown, change: Partial<Subject> = {}): Subject {
  return {
    urn: `urn:pulumi:prod::geocrop-storage::${type}::it`,
    type,
    name: "it",
    props,
    protect: false,
    ...change,
  };
}

const digest = `@sha256:${"0".repeat(64)}`;
const goodContainer = {
  name: "server",
  image: `registry.example/server${digest}`,
  securityContext: {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ["ALL"] },
  },
  resources: { requests: { cpu: "1", memory: "1Gi" }, limits: { memory: "1Gi" } },
};
const goodPod = {
  automountServiceAccountToken: false,
  securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
};
const withContainer = (container: Props, pod: Props = {}) =>
  subject(statefulSet, {
    metadata: { namespace: "geocrop" },
    spec: { template: { spec: { ...goodPod, ...pod, containers: [{ ...goodContainer, ...container }] } } },
  });
const withEnv = (name: string, value: string) => withContainer({ env: [{ name, value }] });
const policy = (...statements: Props[]) =>
  subject(iamPolicy, { name: "geocrop-api-signer", policy: JSON.stringify({ Statement: statements }) });
const ingress = (...from: Props[]) =>
  subject(networkPolicy, { spec: { podSelector: { matchLabels: { app: "minio" } }, ingress: [{ from }] } });
const nginx = (text: string) => subject("kubernetes:core/v1:ConfigMap", { data: { "nginx.conf": text } });
const denyAll = {
  metadata: { namespace: "geocrop" },
  spec: { podSelector: {}, policyTypes: ["Ingress", "Egress"] },
};

interface Example {
  readonly what: string;
  readonly subjects: readonly Subject[];
  readonly config?: Props;
  /** What the rule finds; none when it is kept. */
  readonly finds?: RegExp;
}

const one = (what: string, only: Subject, finds?: RegExp, config?: Props): Example => ({
  what,
  subjects: [only],
  ...(finds === undefined ? {} : { finds }),
  ...(config === undefined ? {} : { config }),
});

const examples: Readonly<Record<string, readonly Example[]>> = {
  "bucket-private": [
    one("a private bucket", subject(bucket, { acl: "private" })),
    one("a public one", subject(bucket, { acl: "public-read" }), /acl is public-read/),
    one("one without an acl", subject(bucket, {}), /acl is not set/),
    one(
      "a bucket policy for anybody",
      subject("minio:index/s3BucketPolicy:S3BucketPolicy", {
        policy: JSON.stringify({ Statement: [{ Sid: "All", Effect: "Allow", Principal: { AWS: ["*"] } }] }),
      }),
      /statement All grants access to everyone/,
    ),
    one(
      "a bucket policy that is no JSON",
      subject("minio:index/s3BucketPolicy:S3BucketPolicy", { policy: "?" }),
    ),
  ],
  "bucket-quota": [
    one("a quota", subject(bucket, { quota: 1 })),
    one("a quota of nothing", subject(bucket, { quota: 0 }), /no quota/),
    one("no quota", subject(bucket, {}), /no quota/),
  ],
  "bucket-versioned": [
    {
      what: "a versioned bucket",
      subjects: [
        subject(bucket, { bucket: "a" }),
        subject(versioning, { bucket: "a", versioningConfiguration: { status: "Enabled" } }),
      ],
    },
    {
      what: "suspended versions",
      subjects: [
        subject(bucket, { bucket: "a" }),
        subject(versioning, { bucket: "a", versioningConfiguration: { status: "Suspended" } }),
      ],
      finds: /keeps no versions/,
    },
    {
      what: "versions of another bucket",
      subjects: [
        subject(bucket, { bucket: "a" }),
        subject(versioning, { bucket: "b", versioningConfiguration: { status: "Enabled" } }),
      ],
      finds: /keeps no versions/,
    },
    one("no word of versions", subject(bucket, { bucket: "a" }), /keeps no versions/),
  ],
  "data-protected": [
    one("a protected bucket", subject(bucket, {}, { protect: true })),
    one("an unprotected one", subject(bucket, {}), /not protected/),
    one(
      "one that empties itself",
      subject(bucket, { forceDestroy: true }, { protect: true }),
      /forceDestroy/,
    ),
    one("a StatefulSet without claims", subject(statefulSet, {})),
    one(
      "a StatefulSet with claims",
      subject(statefulSet, { spec: { volumeClaimTemplates: [{}] } }),
      /not protected/,
    ),
    one("a bucket of another stack", subject(bucket, {}), undefined, { stacks: ["production"] }),
  ],
  "image-digest": [
    one("a digest", withContainer({})),
    one("a tag", withContainer({ image: "minio:latest" }), /minio:latest has no digest/),
    one("no image", withContainer({ image: undefined }), /image is missing/),
    one("a tag of the sandbox", withContainer({ image: "geocrop.sandbox/minio:dev" })),
    one("a registry that is exempt", withContainer({ image: "mine/minio:1" }), undefined, {
      exemptPrefixes: ["mine/"],
    }),
    one(
      "an init container's tag",
      withContainer({}, { initContainers: [{ name: "first", image: "busybox" }] }),
      /container first: image busybox/,
    ),
    one("a StatefulSet without a pod", subject(statefulSet, {})),
  ],
  "minio-image-floor": [
    one("a release of that day", withContainer({ image: "minio:RELEASE.2025-10-15T17-29-55Z" })),
    one(
      "an older one",
      withContainer({ image: "minio:RELEASE.2025-09-07T16-13-09Z" }),
      /2025-09-07 is older/,
    ),
    one("an image that names none", withContainer({ image: `minio${digest}` })),
    one("no image", withContainer({ image: undefined })),
    one(
      "a later floor",
      withContainer({ image: "minio:RELEASE.2025-10-15T17-29-55Z" }),
      /older than 2026-01-01/,
      {
        oldest: "2026-01-01",
      },
    ),
  ],
  "pod-security-restricted": [
    one("a restricted pod", withContainer({})),
    one(
      "a container that says nothing",
      withContainer({ securityContext: undefined }),
      /capabilities.drop lacks ALL/,
    ),
    one("a privileged one", withContainer({ securityContext: { privileged: true } }), /privileged is on/),
    one(
      "root",
      withContainer({}, { securityContext: { ...goodPod.securityContext, runAsUser: 0 } }),
      /runAsUser is 0/,
    ),
    one(
      "no seccomp profile",
      withContainer({}, { securityContext: { runAsNonRoot: true } }),
      /seccompProfile/,
    ),
    one("the host's network", withContainer({}, { hostNetwork: true }), /hostNetwork is on/),
    one(
      "a folder of the host",
      withContainer({}, { volumes: [{ name: "etc", hostPath: {} }] }),
      /volume etc is a hostPath/,
    ),
    one(
      "a token",
      withContainer({}, { automountServiceAccountToken: undefined }),
      /automountServiceAccountToken/,
    ),
    one(
      "a capability",
      withContainer({
        securityContext: {
          ...goodContainer.securityContext,
          capabilities: { drop: ["ALL"], add: ["NET_BIND_SERVICE"] },
        },
      }),
      /capabilities.add is not empty/,
    ),
    one(
      "a port of the node",
      withContainer({ ports: [{ containerPort: 8443, hostPort: 8443 }] }),
      /ports has a hostPort/,
    ),
    one("a port of the pod", withContainer({ ports: [{ containerPort: 8443 }] })),
    one(
      "a kind of volume that is not restricted's",
      withContainer({}, { volumes: [{ name: "share", nfs: {} }] }),
      /volume share is a nfs/,
    ),
    one(
      "a volume with a token",
      withContainer(
        {},
        { volumes: [{ name: "api", projected: { sources: [{ serviceAccountToken: {} }] } }] },
      ),
      /volume api has a service account's token/,
    ),
    one("a Secret's files", withContainer({}, { volumes: [{ name: "tls", secret: {} }] })),
    one(
      "an init container that is privileged",
      withContainer({}, { initContainers: [{ ...goodContainer, securityContext: { privileged: true } }] }),
      /container server: privileged is on/,
    ),
  ],
  "no-secret-in-env": [
    one("a file's name", withEnv("TOKEN_FILE", "/etc/token")),
    one("a literal password", withEnv("MINIO_ROOT_PASSWORD", "x"), /MINIO_ROOT_PASSWORD holds a secret/),
    one(
      "a key of a Secret",
      withContainer({ env: [{ name: "X", valueFrom: { secretKeyRef: {} } }] }),
      /X holds a secret/,
    ),
    one("a whole Secret", withContainer({ envFrom: [{ secretRef: {} }] }), /a whole Secret/),
    one("no environment", withContainer({})),
  ],
  "memory-bounded": [
    one("bounds", withContainer({})),
    one("no bounds", withContainer({ resources: undefined }), /resources.limits.memory is missing/),
  ],
  "network-default-deny": [
    { what: "a deny-all", subjects: [withContainer({}), subject(networkPolicy, denyAll)] },
    one("no policy at all", withContainer({}), /namespace geocrop has no policy that denies/),
    {
      what: "a deny of ingress only",
      subjects: [
        withContainer({}),
        subject(networkPolicy, { ...denyAll, spec: { podSelector: {}, policyTypes: ["Ingress"] } }),
      ],
      finds: /no policy that denies by default/,
    },
    {
      what: "a deny-all of another namespace",
      subjects: [withContainer({}), subject(networkPolicy, { ...denyAll, metadata: { namespace: "other" } })],
      finds: /no policy that denies by default/,
    },
    { what: "no workload", subjects: [] },
  ],
  "minio-closed": [
    one(
      "its clients",
      ingress({
        podSelector: { matchExpressions: [{ key: "app", operator: "In", values: ["geocrop-api"] }] },
      }),
    ),
    one("others too", ingress({ podSelector: { matchLabels: { app: "web" } } }), /app web may enter/),
    one("everybody", ingress(), /allows all connections/),
    one("any pod", ingress({ podSelector: {} }), /pods of any app/),
    one("an address block", ingress({ ipBlock: { cidr: "10.0.0.0/8" } }), /10\.0\.0\.0\/8 may enter/),
    one("other namespaces", ingress({ namespaceSelector: {}, podSelector: {} }), /other namespaces/),
    one(
      "a policy of others",
      subject(networkPolicy, { spec: { podSelector: { matchLabels: { app: "web" } }, ingress: [{}] } }),
    ),
    one(
      "a policy that selects all pods",
      subject(networkPolicy, { spec: { podSelector: {}, ingress: [{}] } }),
      /allows all connections/,
    ),
    one("a client of the user's", ingress({ podSelector: { matchLabels: { app: "web" } } }), undefined, {
      clients: ["web"],
    }),
    one("a policy without a spec", subject(networkPolicy, {})),
  ],
  "minio-not-exposed": [
    one("a ClusterIP", subject(service, { spec: { selector: { app: "minio" } } })),
    one(
      "a NodePort",
      subject(service, { spec: { selector: { app: "minio" }, type: "NodePort" } }),
      /NodePort/,
    ),
    one(
      "external addresses",
      subject(service, { spec: { selector: { app: "minio" }, externalIPs: ["1.2.3.4"] } }),
      /externalIPs/,
    ),
    one(
      "another's LoadBalancer",
      subject(service, { spec: { selector: { app: "web" }, type: "LoadBalancer" } }),
    ),
    one(
      "MinIO by another name",
      subject(service, { spec: { selector: { app: "store" }, type: "NodePort" } }),
      /NodePort/,
      {
        app: "store",
      },
    ),
    one("a Service without a selector", subject(service, { spec: {} })),
  ],
  "tls-floor": [
    one("TLS 1.2 and 1.3", nginx("  ssl_protocols TLSv1.2 TLSv1.3;")),
    one("TLS 1.1", nginx("  ssl_protocols TLSv1.1 TLSv1.2;"), /accepts TLSv1\.1/),
    one("no word of it", nginx("server {}"), /sets no ssl_protocols/),
    one(
      "an unchecked upstream",
      nginx("  ssl_protocols TLSv1.3;\n  proxy_ssl_verify off;"),
      /does not check/,
    ),
    one("another ConfigMap", subject("kubernetes:core/v1:ConfigMap", {})),
    one("a provider over TLS", subject("pulumi:providers:minio", { minioSsl: "true" })),
    one("one without", subject("pulumi:providers:minio", {}), /minioSsl is not on/),
    one(
      "one that checks nothing",
      subject("pulumi:providers:minio", { minioSsl: true, minioInsecure: true }),
      /minioInsecure/,
    ),
    one(
      "a plain address",
      withEnv("S3_ENDPOINT", "http://minio:9000"),
      /S3_ENDPOINT is an address without TLS/,
    ),
  ],
  "url-expiry-bounds": [
    one("15 minutes", withEnv("URL_EXPIRY_SECONDS", "900")),
    one("a day", withEnv("URL_EXPIRY_SECONDS", "86400"), /is 86400, not 900 to 3600/),
    one("no number", withEnv("URL_EXPIRY_SECONDS", "soon"), /is soon/),
    one("a day, where that is allowed", withEnv("URL_EXPIRY_SECONDS", "86400"), undefined, {
      mostSeconds: 86_400,
    }),
    one(
      "a signer whose old signatures are refused",
      policy({ Effect: "Deny", Condition: { NumericGreaterThan: { "s3:signatureAge": "3600000" } } }),
    ),
    one(
      "a signer without a bound",
      policy({ Effect: "Allow", Action: ["s3:GetObject"] }),
      /older than 3600 s/,
    ),
  ],
  "iam-no-wildcard": [
    one(
      "single actions",
      policy({ Effect: "Allow", Action: ["s3:GetObject"], Resource: ["arn:aws:s3:::a/*"] }),
    ),
    one(
      "all actions",
      policy({ Sid: "All", Effect: "Allow", Action: "s3:*", Resource: "arn:aws:s3:::a" }),
      /All allows s3:\*/,
    ),
    one(
      "every bucket",
      policy({ Sid: "B", Effect: "Allow", Action: ["s3:GetObject"], Resource: ["arn:aws:s3:::*"] }),
      /every bucket/,
    ),
    one(
      "a list of buckets",
      policy({ Effect: "Allow", Action: ["s3:ListAllMyBuckets"], Resource: ["arn:aws:s3:::*"] }),
    ),
    one("all but a list", policy({ Effect: "Allow", NotAction: ["s3:GetObject"] }), /all but what it lists/),
    one("a refusal of everything", policy({ Effect: "Deny", Action: ["s3:*"] })),
    one("no document", subject(iamPolicy, {}), /no JSON document/),
    one(
      "another action on all, where that is allowed",
      policy({ Effect: "Allow", Action: ["s3:GetObject"], Resource: ["*"] }),
      undefined,
      { actionsOnAll: ["s3:GetObject"] },
    ),
    one(
      "every bucket, for an identity that has them all",
      policy({ Effect: "Allow", Action: ["s3:GetObject"], Resource: ["arn:aws:s3:::*"] }),
      undefined,
      { everyBucket: ["geocrop-api-signer"] },
    ),
    one(
      "all actions, for one that has all buckets",
      policy({ Effect: "Allow", Action: ["s3:*"] }),
      /allows s3:/,
      {
        everyBucket: ["geocrop-api-signer"],
      },
    ),
  ],
};

describe.each(rules.map((rule): [string, Rule] => [rule.id, rule]))("the policy %s", (id, rule) => {
  test.each((examples[id] ?? []).map((example): [string, Example] => [example.what, example]))(
    "on %s",
    (_, example) => {
      const messages = rule.check(example.subjects, example.config).map(({ message }) => message);
      expect(messages.join("\n")).toMatch(example.finds ?? /^$/);
    },
  );

  test("has examples of both kinds, and says why, who says so, and what to do", () => {
    const finds = (examples[id] ?? []).map((example) => example.finds !== undefined);
    expect(new Set(finds)).toEqual(new Set([true, false]));
    for (const text of [rule.description, rule.why, rule.remedy]) expect(text).toMatch(/\.$/);
    expect(rule.source).not.toBe("");
  });

  test("leaves other resources alone", () => {
    expect(rule.check([subject("random:index/randomString:RandomString", {})])).toEqual([]);
  });
});

test("a setting of the wrong type is refused, and one that no rule knows is ignored", () => {
  const rule = rules.find(({ id }) => id === "url-expiry-bounds");
  expect(() => rule?.check([], { mostSeconds: "1h" })).toThrow(
    'policy url-expiry-bounds: "mostSeconds" must be a number',
  );
  expect(rule?.check([], { enforcementLevel: "advisory" })).toEqual([]);
});
