import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import { CoreV1Api } from "@kubernetes/client-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { podLabels } from "../../components/kubernetes/workload.ts";
import { openTunnel } from "../../components/minio/tunnel.ts";
import { readSecretValue } from "../../tools/kube/dev-cluster.ts";
import { httpsRequest } from "../../tools/https-request.ts";
import { runSmokeTest } from "../../sandbox/smoke-test/smoke-test.ts";
import { mintToken } from "../../tools/jobs/token.ts";
import { bringUp, mcBinary } from "./bring-up.ts";
import { layout, type Place, run, stackAt, type StackUnderTest } from "./stacks.ts";
import { inPod, mc, namespaceExists, objectVersions, removeNamespaces, sandboxCluster } from "./live.ts";
import { canConnect } from "./network-probe.ts";

const quiet = { note: () => undefined, doing: () => undefined };
const extraBucket = { buckets: { "geocrop-extra": { quota: "64Mi" } } };
const raisedQuota = { buckets: { "geocrop-models": { quota: "2Gi" } } };

let client: string;

beforeAll(async () => {
  process.env["KUBECONFIG"] = layout.kubeconfig;
  await bringUp();
  client = await mcBinary();
});

const place: Place = {
  namespace: "geocrop-e2e-stack",
  folder: join(layout.data, "e2e/stack"),
  apiPort: 30453,
  downloadPort: 30454,
  tunnelPort: 19011,
};

/** The stack's life, from a first preview to its end: the tests go on from one another. */
describe("the stack", () => {
  const stack: StackUnderTest = stackAt(place);
  let caFile: string;
  let ca: string;

  beforeAll(async () => {
    await removeNamespaces(place.namespace);
    await rm(place.folder, { recursive: true, force: true });
  });

  afterAll(() => removeNamespaces(place.namespace));

  test("is only planned by a first preview", async () => {
    expect((await stack.preview())["create"]).toBeGreaterThan(80);
    expect(await namespaceExists(place.namespace)).toBe(false);
  });

  test("is carried on by the next `up` when one was killed half-way", async () => {
    const workerKey = (): Promise<string> =>
      readSecretValue(sandboxCluster(), stack.namespace, "minio-config", "config.env");
    const interrupted = await stack.start("up");
    // Killed as soon as MinIO has its Secret, while most of the stack is still to come.
    let before: string | undefined;
    while (before === undefined) before = await workerKey().catch(() => pause(20));
    interrupted.kill();
    await interrupted.done;

    await stack.up();
    expect(await stack.preview()).toEqual({ same: expect.any(Number) });
  });

  test("keeps its buckets in the state through refreshes", async () => {
    const plain = await (await stack.start("refresh", {}, "--no-program")).done;
    expect(plain.code, "a refresh without the program must fail, not forget the buckets").not.toBe(0);
    expect(plain.output).toContain("use---run-program");
    expect(await stack.preview()).toEqual({ same: expect.any(Number) });

    const full = await (await stack.start("refresh")).done;
    expect(full.code, full.output).toBe(0);
    expect(await stack.preview()).toEqual({ same: expect.any(Number) });
  });

  const authority = async (): Promise<void> => {
    ca = await readSecretValue(sandboxCluster(), stack.namespace, "geocrop-downloads-tls", "ca.crt");
    caFile = join(layout.data, "e2e", `${stack.namespace}.crt`);
    await writeFile(caFile, ca);
  };
  const target = () => ({
    cluster: sandboxCluster(),
    namespace: stack.namespace,
    apiUrl: stack.apiUrl,
    downloadUrl: stack.downloadUrl,
    caFile,
    scratch: join(layout.data, "e2e/scratch"),
  });
  const signedUrlFor = async (job: string): Promise<string> => {
    const token = await mintToken(sandboxCluster(), stack.namespace, "alice", 600);
    const { body } = await httpsRequest(`${stack.apiUrl}/api/v1/results/${job}/download`, {
      ca,
      headers: { authorization: `Bearer ${token}` },
    });
    const { url }: { url: string } = JSON.parse(body.toString("utf8"));
    return url;
  };

  test("passes the smoke test: the owner downloads, everybody else is refused", async () => {
    await authority();
    const outcome = await runSmokeTest(target(), run, quiet, "job-e2e");
    expect(outcome).toMatchObject({ job: "job-e2e", sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(outcome.rangeRequests).toBeGreaterThan(0);
  });

  test("is not changed by a second run: no object, no bucket", async () => {
    expect(await stack.preview()).toEqual({ same: expect.any(Number) });
    const before = await objectVersions(stack.namespace);
    await stack.up();
    expect(await objectVersions(stack.namespace)).toEqual(before);
  });

  test("has its buckets private, versioned and with their quotas", async () => {
    const address = await tunnel(stack.namespace);
    for (const [bucket, quota] of [
      ["geocrop-baselines", 1],
      ["geocrop-datasets", 1],
      ["geocrop-results", 2],
      ["geocrop-models", 1],
    ] as const) {
      const [anonymous] = await mc(client, stack.namespace, address, ["anonymous", "get", `stack/${bucket}`]);
      expect(anonymous).toMatchObject({ permission: "private" });
      const [info] = await mc(client, stack.namespace, address, ["quota", "info", `stack/${bucket}`]);
      expect(info).toMatchObject({ quota: quota * 1024 ** 3 });
      const [versioning] = await mc(client, stack.namespace, address, ["version", "info", `stack/${bucket}`]);
      expect(versioning).toMatchObject({ versioning: { status: "Enabled" } });
    }
  });

  test("has an audit trail of each download, with its signature masked and its issuance shown", async () => {
    const url = await signedUrlFor("job-e2e");
    const issuance = new URL(url).searchParams.get("x-geocrop-issuance") ?? "";
    const signature = new URL(url).searchParams.get("X-Amz-Signature") ?? "";
    expect(issuance).not.toBe("");
    expect(signature).toMatch(/^[0-9a-f]{64}$/);
    expect((await httpsRequest(url, { ca })).status).toBe(200);

    let trail = "";
    for (let tries = 0; tries < 40 && !trail.includes(issuance); tries += 1) {
      await pause(500);
      trail = await inPod(stack.namespace, "audit-receiver-0", "audit-receiver", [
        "node",
        "-e",
        'const d="/var/lib/audit/",fs=require("fs");for(const f of fs.readdirSync(d))if(/^audit-.*ndjson$/.test(f))process.stdout.write(fs.readFileSync(d+f))',
      ]);
    }
    expect(trail).toContain(issuance);
    expect(trail).not.toContain(signature);
  });

  test("lets nobody but its own clients connect to MinIO", async () => {
    const minio = `minio.${stack.namespace}.svc.cluster.local`;
    const reaches = (labels: Record<string, string>, namespace = stack.namespace) =>
      canConnect(sandboxCluster(), namespace, labels, minio, 9000);
    expect(await reaches(podLabels("geocrop-worker", "worker"))).toBe(true);
    expect(await reaches({ app: "stranger" })).toBe(false);
    expect(await reaches(podLabels("geocrop-worker", "worker"), "default")).toBe(false);
  });

  test("has no Secret in any pod's environment, and every pod under Pod Security restricted", async () => {
    const core = sandboxCluster().makeApiClient(CoreV1Api);
    const { metadata } = await core.readNamespace({ name: stack.namespace });
    expect(metadata?.labels).toMatchObject({ "pod-security.kubernetes.io/enforce": "restricted" });
    const { items } = await core.listNamespacedPod({ namespace: stack.namespace });
    expect(items.length).toBeGreaterThanOrEqual(4);
    expect(JSON.stringify(items.map(({ spec }) => spec))).not.toMatch(/secretKeyRef|secretRef/);
  });

  test("changes what is changed in the program, and only that", async () => {
    expect(await stack.preview(raisedQuota)).toEqual({ same: expect.any(Number), update: 1 });
    const before = await objectVersions(stack.namespace);
    await stack.up(raisedQuota);
    const address = await tunnel(stack.namespace);
    const [info] = await mc(client, stack.namespace, address, ["quota", "info", "stack/geocrop-models"]);
    expect(info).toMatchObject({ quota: 2 * 1024 ** 3 });
    expect(await objectVersions(stack.namespace)).toEqual(before);
    await stack.up();
  });

  test("makes a bucket that is added, and deletes it when it is taken out again", async () => {
    const buckets = async (): Promise<unknown[]> =>
      (await mc(client, stack.namespace, await tunnel(stack.namespace), ["ls", "stack"])).map(
        ({ key }) => key,
      );
    await stack.up(extraBucket);
    expect(await buckets()).toContain("geocrop-extra/");
    await stack.up();
    expect(await buckets()).not.toContain("geocrop-extra/");
  });

  test("keeps issued URLs alive when the keys are turned, and signs with the new ones", async () => {
    const old = await signedUrlFor("job-e2e");
    await stack.up({ credentials: { generation: 2 } });
    expect((await httpsRequest(old, { ca })).status).toBe(200);
    const current = await readSecretValue(
      sandboxCluster(),
      stack.namespace,
      "credentials-api-signer",
      "access-key",
    );
    expect(old).not.toContain(current);
    // The kubelet brings the new keys to the running pods within a minute or two.
    let signedBy = "";
    for (let tries = 0; tries < 90 && !signedBy.startsWith(current); tries += 1) {
      await pause(2000);
      signedBy = new URL(await signedUrlFor("job-e2e")).searchParams.get("X-Amz-Credential") ?? "";
    }
    expect(signedBy.startsWith(current)).toBe(true);
  });

  test("is gone, wholly, when it is destroyed", async () => {
    await stack.destroy();
    expect(await namespaceExists(stack.namespace)).toBe(false);
    const volumes = await sandboxCluster().makeApiClient(CoreV1Api).listPersistentVolume();
    const ours = volumes.items.filter(({ spec }) => spec?.claimRef?.namespace === stack.namespace);
    expect(ours.filter(({ status }) => status?.phase === "Bound")).toEqual([]);
  });
});

/** Opens the program's own tunnel once for each namespace, on ports of the tests' own. */
const tunnels = new Map<string, Promise<string>>();
function tunnel(namespace: string): Promise<string> {
  const open =
    tunnels.get(namespace) ??
    openTunnel({
      namespace,
      service: "minio",
      port: 9000,
      localPort: 19_100 + tunnels.size,
      certificateSecret: "minio-tls",
    }).then(({ address }) => address);
  tunnels.set(namespace, open);
  return open;
}
