import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import {
  CoreV1Api,
  NetworkingV1Api,
  type V1Container,
  type V1Pod,
  type V1Volume,
} from "@kubernetes/client-node";
import { afterAll, beforeAll, expect, test } from "vitest";

import { restrictedPod } from "../../components/kubernetes/workload.ts";
import { probeLabel } from "../../tools/verify/probe-pod.ts";
import { type Result, runChecks } from "../../tools/verify/check.ts";
import { checks, chosenChecks } from "../../tools/verify/checks/index.ts";
import type { KeyPair, Minio } from "../../tools/verify/minio.ts";
import { readDeclaration } from "../../tools/program/stack-file.ts";
import { Target } from "../../tools/verify/target.ts";
import { seal } from "../../tools/verify/madmin.ts";
import { bringUp } from "./bring-up.ts";
import { command, layout, stackAt, type Place, type StackUnderTest } from "./stacks.ts";
import { inPod, removeNamespaces, sandboxCluster } from "./live.ts";

const place: Place = {
  namespace: "geocrop-e2e-verify",
  folder: join(layout.data, "e2e/verify"),
  apiPort: 30473,
  downloadPort: 30474,
  tunnelPort: 19013,
};
const { namespace } = place;
const core = () => sandboxCluster().makeApiClient(CoreV1Api);
const stackFile = join(place.folder, "Pulumi.dev.yaml");

let stack: StackUnderTest;

beforeAll(async () => {
  process.env["KUBECONFIG"] = layout.kubeconfig;
  await bringUp();
  stack = stackAt(place);
  await removeNamespaces(namespace);
  await rm(place.folder, { recursive: true, force: true });
  await stack.up();
});

afterAll(() => removeNamespaces(namespace));

/** Runs checks as `npm run verify` does, and hands back what is not as it must be. */
async function verify(only?: string): Promise<Record<string, string>> {
  const settings = readDeclaration(stackFile);
  const target = new Target({
    cluster: sandboxCluster(),
    namespace,
    settings,
    image: settings.images.signedUrlApi,
  });
  try {
    const results = await runChecks(chosenChecks(only), target, () => undefined);
    return Object.fromEntries(results.filter(({ outcome }) => outcome !== "holds").map(told));
  } finally {
    await target.close();
  }
}

const told = ({ id, outcome, faults }: Result): [string, string] => [id, `${outcome}: ${faults.join("; ")}`];

/** Does something to MinIO as root, by the way that the checks have too. */
async function asRoot(work: (minio: Minio, root: KeyPair) => Promise<void>): Promise<void> {
  const settings = readDeclaration(stackFile);
  const target = new Target({ cluster: sandboxCluster(), namespace, settings, image: "none" });
  const { "config.env": config = "" } = await target.secret("minio-config");
  const value = (name: string): string => new RegExp(`^export ${name}="(.*)"$`, "m").exec(config)?.[1] ?? "";
  try {
    await work(await target.minio(), {
      accessKey: value("MINIO_ROOT_USER"),
      secretKey: value("MINIO_ROOT_PASSWORD"),
    });
  } finally {
    await target.close();
  }
}

test("all of it holds on a sound deployment, within 90 s, and nothing secret is said", async () => {
  const started = performance.now();
  const { code, output } = await command(process.execPath, [
    "tools/verify/main.ts",
    "--config-file",
    stackFile,
    "--json",
  ]).done;
  expect(performance.now() - started).toBeLessThan(90_000);
  const { results }: { results: Result[] } = JSON.parse(output);
  expect(results.filter(({ outcome }) => outcome !== "holds").map(told)).toEqual([]);
  expect(results.map(({ id }) => id).toSorted()).toEqual(checks.map(({ id }) => id).toSorted());
  expect(code).toBe(0);
  const { items } = await core().listNamespacedSecret({ namespace });
  const secrets = items.flatMap(({ data }) =>
    Object.entries(data ?? {}).filter(([key]) => !key.endsWith(".crt")),
  );
  expect(secrets.length).toBeGreaterThan(10);
  for (const [, encoded] of secrets) {
    expect(output).not.toContain(Buffer.from(encoded, "base64").toString("utf8").trim());
  }
  expect(output).not.toMatch(/X-Amz-Signature=[0-9a-f]/);
});

test("leaves nothing of its own behind", async () => {
  const labelSelector = probeLabel;
  const { items } = await core().listNamespacedPod({ namespace, labelSelector });
  expect(items.filter(({ metadata }) => metadata?.deletionTimestamp === undefined)).toEqual([]);
  const spaces = await core().listNamespace({ labelSelector });
  expect(spaces.items.filter(({ metadata }) => metadata?.deletionTimestamp === undefined)).toEqual([]);
});

test("root can be shut out, the keys turned without it, and let in again", async () => {
  const off = { minio: { rootAccess: "off" } };
  const turned = { ...off, credentials: { generation: 2 } };
  await stack.up(off);
  expect(await stack.preview(off)).toEqual({ same: expect.any(Number) });
  expect(await verify("identities,buckets.quotas")).toEqual({});
  await asRoot(async (minio, root) => expect((await minio.as(root, { path: "/" })).status).toBe(403));

  await stack.up(turned);
  expect(await verify("identities,buckets.quotas")).toEqual({});
  await stack.up({ credentials: { generation: 2 } });
  const statusOfRoot = async (): Promise<number> => {
    let status = 0;
    await asRoot(async (minio, root) => {
      status = (await minio.as(root, { path: "/" })).status;
    });
    return status;
  };
  // The pod that ends may be asked once more: it serves until its Service has forgotten it.
  await expect.poll(statusOfRoot, { timeout: 60_000, interval: 2000 }).toBe(200);
  expect(await verify("identities.users,identities.policies")).toEqual({});
});

/** What each check must say once everything below is broken. */
const broken: Readonly<Record<string, RegExp>> = {
  "buckets.private": /^broken: geocrop-models has a bucket policy$/,
  "buckets.anonymous": /^broken: GET \/geocrop-models\/\S+ without a key is answered 404/,
  "buckets.versioning": /^broken: geocrop-baselines is not versioned$/,
  "buckets.quotas": /^broken: geocrop-datasets has a quota of 1000 bytes, not 1Gi$/,
  "buckets.lifecycle": /^broken: geocrop-models: old versions go after no days, not 30$/,
  "buckets.declared": /^broken: geocrop-unknown is not declared$/,
  "identities.users": /^broken: there is a user "minioadmin" that nobody declared/,
  "identities.other-keys": /^broken: .*1 service accounts of root or an unknown user/,
  "identities.policies":
    /^broken: there is a policy "geocrop-extra".*; geocrop-api-signer is not as declared/,
  "identities.default-pair": /^broken: a request signed with the default pair is answered 200$/,
  "identities.root":
    /^broken: pod careless mounts or reads minio-config; .*root's key was used for PutBucketPolicy/,
  "downloads.flow": /^broken: .*a week's URL after 61 minutes is answered 200, not 403/,
  "downloads.replays": /^broken: MinIO answers 200 to a replay of a known hole/,
  "workloads.restricted": /^broken: pod careless: container careless can write to its image's file system$/,
  "workloads.secrets":
    /^broken: pod careless has TOKEN from a Secret; pod careless shows the value of audit-token\/token$/,
  "workloads.images": /^broken: pod careless runs geocrop\.sandbox\/job-client:dev, which has no digest$/,
  "network.enforced": /^broken: This cluster does not enforce NetworkPolicies/,
  "network.stack":
    /^broken: .*stranger in the namespace can connect to MinIO's Service on 9000, and must not/,
  "network.spoofer":
    /^broken: .*pod elsewhere with the API's labels can connect to MinIO's pod on 9000, and must not/,
  "audit.trail": /^broken: .*the chain is broken: /,
};

test("each check is red where its thing is broken", async () => {
  await asRoot(breakMinio);
  await breakWorkloads();
  await openNetwork();
  await expect.poll(rootsWork, { timeout: 30_000, interval: 1000 }).toContain("PutBucketPolicy");
  await alterTrail();
  const stop = undoDenyAll();
  try {
    const found = await verify();
    for (const [id, fault] of Object.entries(broken)) expect.soft(found[id], id).toMatch(fault);
    expect(Object.keys(found).toSorted()).toEqual(Object.keys(broken).toSorted());
  } finally {
    await stop();
  }
  const { code } = await command(process.execPath, [
    "tools/verify/main.ts",
    "--config-file",
    stackFile,
    "--only",
    "buckets.quotas",
  ]).done;
  expect(code).toBe(1);
});

test("the checks of TLS are red where a server speaks plainly, too old, and by a certificate of its own", async () => {
  await startDecoy();
  const found = await verify("tls");
  expect(found).toEqual({
    "tls.version": expect.stringMatching(/^broken: audit-receiver takes TLSv1/),
    "tls.plain-http": expect.stringMatching(
      /^broken: audit-receiver answers plain HTTP with HTTP\/1.1 200 OK/,
    ),
    "tls.certificates": expect.stringMatching(/^broken: audit-receiver: \w*(?:SELF_SIGNED|VERIFY|LEAF)/),
  });
});

test("a check that could not look is no pass", async () => {
  await core().deleteNamespacedSecret({ namespace, name: "credentials-provisioner" });
  const { code, output } = await command(process.execPath, [
    "tools/verify/main.ts",
    "--config-file",
    stackFile,
    "--only",
    "buckets.versioning",
  ]).done;
  expect(code).toBe(1);
  expect(output).toMatch(
    /NOT RUN buckets\.versioning[^]*There is no Secret geocrop-e2e-verify\/credentials-provisioner/,
  );
});

/** The audit trail hears of a request some seconds later. */
const rootsWork = async (): Promise<string> => (await verify("identities.root"))["identities.root"] ?? "";

async function breakMinio(minio: Minio, root: KeyPair): Promise<void> {
  const put = async (path: string, body: string | Buffer): Promise<void> => {
    const { status } = await minio.as(root, { method: "PUT", path, body });
    expect([200, 204], path).toContain(status);
  };
  const sealed = (request: unknown) => seal(root.secretKey, Buffer.from(JSON.stringify(request)));
  const admin = "/minio/admin/v3";
  const everything = { Effect: "Allow", Action: ["s3:*"], Resource: ["arn:aws:s3:::*"] };
  const policy = (statement: object) => JSON.stringify({ Version: "2012-10-17", Statement: [statement] });

  await put(
    "/geocrop-models?policy=",
    policy({
      ...everything,
      Principal: "*",
      Action: ["s3:GetObject", "s3:ListBucket"],
      Resource: ["arn:aws:s3:::geocrop-models", "arn:aws:s3:::geocrop-models/*"],
    }),
  );
  await put(
    "/geocrop-baselines?versioning=",
    "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>",
  );
  await put(
    `${admin}/set-bucket-quota?bucket=geocrop-datasets`,
    JSON.stringify({ quota: 1000, quotatype: "hard" }),
  );
  expect((await minio.as(root, { method: "DELETE", path: "/geocrop-models?lifecycle=" })).status).toBe(204);
  await put("/geocrop-unknown", "");
  await put(`${admin}/add-user?accessKey=minioadmin`, sealed({ secretKey: "minioadmin", status: "enabled" }));
  await put(
    `${admin}/set-user-or-group-policy?policyName=readwrite&userOrGroup=minioadmin&isGroup=false`,
    "",
  );
  await put(`${admin}/add-service-account`, sealed({ accessKey: "backdoor-key", secretKey: randomUUID() }));
  await put(`${admin}/add-canned-policy?name=geocrop-extra`, policy(everything));
  await put(
    `${admin}/add-canned-policy?name=geocrop-api-signer`,
    policy({ ...everything, Action: ["s3:GetObject", "s3:PutObject"] }),
  );
}

function sleeper(name: string, container: Partial<V1Container>, volumes: V1Volume[] = []): V1Pod {
  return {
    metadata: { name, namespace, labels: { app: name } },
    spec: {
      ...restrictedPod,
      restartPolicy: "Never",
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name,
          image: "geocrop.sandbox/job-client:dev",
          imagePullPolicy: "IfNotPresent",
          command: ["node", "-e", "setTimeout(() => 0, 600000)"],
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
          ...container,
        },
      ],
      volumes,
    },
  };
}

/** One pod with all that a pod must not have and that the namespace does not refuse. */
async function breakWorkloads(): Promise<void> {
  const secret = await core().readNamespacedSecret({ namespace, name: "audit-token" });
  const token = Buffer.from(secret.data?.["token"] ?? "", "base64").toString("utf8");
  const env = [
    { name: "TOKEN", valueFrom: { secretKeyRef: { name: "audit-token", key: "token" } } },
    { name: "COPY", value: token },
  ];
  await core().createNamespacedPod({
    namespace,
    body: sleeper("careless", { env, volumeMounts: [{ name: "root", mountPath: "/root-config" }] }, [
      { name: "root", secret: { secretName: "minio-config" } },
    ]),
  });
}

/** A policy that opens everything: policies only ever add up. */
async function openNetwork(): Promise<void> {
  await allowEverything(namespace);
}

async function allowEverything(where: string): Promise<void> {
  await sandboxCluster()
    .makeApiClient(NetworkingV1Api)
    .createNamespacedNetworkPolicy({
      namespace: where,
      body: {
        metadata: { name: "open" },
        spec: { podSelector: {}, policyTypes: ["Ingress", "Egress"], ingress: [{}], egress: [{}] },
      },
    });
}

/** Makes the cluster look like one that enforces nothing: whatever the check denies is allowed again at once. */
function undoDenyAll(): () => Promise<void> {
  const stop = new AbortController();
  const opened = new Set<string>();
  const watching = (async () => {
    while (!stop.signal.aborted) {
      const { items } = await core().listNamespace({ labelSelector: probeLabel });
      for (const { metadata } of items) {
        const name = metadata?.name ?? "";
        if (metadata?.deletionTimestamp !== undefined || opened.has(name)) continue;
        opened.add(name);
        await allowEverything(name);
      }
      await pause(200);
    }
  })();
  return async () => {
    stop.abort();
    await watching;
  };
}

/** Changes one character in the middle of the trail. */
async function alterTrail(): Promise<void> {
  const script = `
    const fs = require("node:fs"), dir = "/var/lib/audit/";
    const name = fs.readdirSync(dir).filter((name) => /^audit-.*ndjson$/.test(name)).sort().at(-1);
    const file = fs.openSync(dir + name, "r+");
    const text = fs.readFileSync(dir + name, "latin1");
    const at = text.indexOf('"version":"1"', text.length / 2) + 11;
    fs.writeSync(file, "2", at, "latin1");`;
  await inPod(namespace, "audit-receiver-0", "audit-receiver", ["node", "-e", script]);
}

/** Stands in for the audit receiver: answers plain HTTP and TLS 1.0 alike on one port, by a certificate of its own. */
async function startDecoy(): Promise<void> {
  const { certificate, key } = await selfSigned();
  const script = `
    const [cert, key] = process.argv.slice(1);
    const secure = require("node:https").createServer(
      { cert, key, minVersion: "TLSv1", ciphers: "DEFAULT:@SECLEVEL=0" }, (_, response) => response.end());
    require("node:net").createServer((socket) => socket.once("data", (first) => {
      if (first[0] !== 22) return socket.end("HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n");
      socket.pause();
      socket.unshift(first);
      secure.emit("connection", socket);
    }).on("error", () => 0)).listen(8443);`;
  await core().deleteNamespacedService({ namespace, name: "audit-receiver" });
  await core().createNamespacedService({
    namespace,
    body: {
      metadata: { name: "audit-receiver" },
      spec: { selector: { app: "decoy" }, ports: [{ port: 8443 }] },
    },
  });
  await core().createNamespacedPod({
    namespace,
    body: sleeper("decoy", { command: ["node", "-e", script, "--", certificate, key] }),
  });
  for (let tries = 0; tries < 120; tries += 1) {
    const { status } = await core().readNamespacedPod({ namespace, name: "decoy" });
    if (status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True")) return;
    await pause(250);
  }
  throw new Error("the decoy did not start");
}

async function selfSigned(): Promise<{ certificate: string; key: string }> {
  const name = "/CN=decoy";
  const { output } = await command("openssl", [
    ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -keyout - -subj".split(" "),
    name,
  ]).done;
  const part = (label: string) =>
    new RegExp(`-----BEGIN ${label}-----[^]*?-----END ${label}-----\\n`).exec(output)?.[0] ?? "";
  return { certificate: part("CERTIFICATE"), key: part("PRIVATE KEY") };
}
