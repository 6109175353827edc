import { randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { Readable } from "node:stream";

import { CoreV1Api, type KubeConfig, type V1Pod } from "@kubernetes/client-node";

import { podLabels, restrictedPod, unprivilegedId } from "../../components/kubernetes/workload.ts";
import { isJobId } from "../../services/signed-url-api/jobs/job-id.ts";
import { required, runCommand, UsageError } from "../command-line.ts";
import { devCluster, stackNamespace } from "../kube/dev-cluster.ts";
import { execInPod } from "../kube/exec.ts";
import { isReady, waitForPod } from "../kube/pods.ts";

const usage = `Uploads a job's manifest and result, each by a pod of its own with the identity that may write it.

npm run job -- submit --owner NAME --job ID RESULT.tif
  --image IMAGE    of the pods: with the job client in it [the sandbox's]

GEOCROP_NAMESPACE names the stack's namespace [geocrop], KUBECONFIG the cluster [the sandbox].
`;

/** The sandbox's build of images/job-client.Containerfile. */
const defaultImage = "geocrop.sandbox/job-client:dev";

/** Milliseconds for a job's pod to be ready, its image pulled. */
const timeoutMs = 120_000;

export interface JobResult {
  readonly job: string;
  readonly owner: string;
  /** Sent to storage as `jobs/<job>/result.tif`. */
  readonly content: () => Readable;
  /** Exact size in bytes. */
  readonly bytes: number;
}

/** Who writes what: the submitter says whose a job is, the worker writes its result, neither can do the other's. */
const writers = {
  submitter: { identity: "job-submitter", labels: podLabels("geocrop-api", "job-submitter") },
  worker: { identity: "worker", labels: podLabels("geocrop-worker", "worker") },
} as const;

/** Puts a job's manifest and result in place from inside the cluster, each by the pod whose business it is. */
export async function submitJob(
  cluster: KubeConfig,
  namespace: string,
  result: JobResult,
  image: string = defaultImage,
): Promise<void> {
  const manifest = Buffer.from(JSON.stringify({ job_id: result.job, owner: result.owner }));
  await inPod(cluster, namespace, "submitter", image, (put) =>
    put(`jobs/${result.job}/job.json`, "application/json", manifest.length, Readable.from([manifest])),
  );
  await inPod(cluster, namespace, "worker", image, (put) =>
    put(
      `jobs/${result.job}/result.tif`,
      "image/tiff; application=geotiff; profile=cloud-optimized",
      result.bytes,
      result.content(),
    ),
  );
}

type Put = (key: string, contentType: string, bytes: number, content: Readable) => Promise<void>;

/** Runs one writer's pod for as long as the work takes, and takes it away whatever happens. */
async function inPod(
  cluster: KubeConfig,
  namespace: string,
  writer: keyof typeof writers,
  image: string,
  work: (put: Put) => Promise<void>,
): Promise<void> {
  const api = cluster.makeApiClient(CoreV1Api);
  const body = writerPod(namespace, writer, image);
  const name = body.metadata?.name ?? "";
  await api.createNamespacedPod({ namespace, body });
  try {
    await waitForPod(api, { namespace, name }, isReady, timeoutMs);
    await work(async (key, contentType, bytes, content) => {
      await execInPod(
        cluster,
        { namespace, pod: name, container: "job-client" },
        [
          "node",
          "/app/put.mjs",
          "--bucket",
          "geocrop-results",
          "--key",
          key,
          "--bytes",
          String(bytes),
          "--content-type",
          contentType,
        ],
        { input: content },
      );
    });
  } finally {
    await api.deleteNamespacedPod({ namespace, name, gracePeriodSeconds: 0 });
  }
}

function writerPod(namespace: string, writer: keyof typeof writers, image: string): V1Pod {
  const { identity, labels } = writers[writer];
  return {
    metadata: { name: `job-${writer}-${randomBytes(4).toString("hex")}`, namespace, labels },
    spec: {
      ...restrictedPod,
      restartPolicy: "Never",
      activeDeadlineSeconds: 3600,
      containers: [
        {
          name: "job-client",
          image,
          imagePullPolicy: "IfNotPresent",
          env: [
            { name: "S3_ENDPOINT", value: `https://minio.${namespace}.svc.cluster.local:9000` },
            { name: "S3_CA_FILE", value: "/etc/geocrop/tls/ca.crt" },
            { name: "CREDENTIALS_DIR", value: "/etc/geocrop/credentials" },
          ],
          securityContext: {
            runAsUser: unprivilegedId,
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ["ALL"] },
          },
          resources: { requests: { cpu: "50m", memory: "128Mi" }, limits: { memory: "128Mi" } },
          volumeMounts: [
            { name: "credentials", mountPath: "/etc/geocrop/credentials", readOnly: true },
            { name: "authority", mountPath: "/etc/geocrop/tls", readOnly: true },
          ],
        },
      ],
      volumes: [
        { name: "credentials", secret: { secretName: `credentials-${identity}` } },
        {
          name: "authority",
          secret: { secretName: "minio-tls", items: [{ key: "ca.crt", path: "ca.crt" }] },
        },
      ],
    },
  };
}

if (import.meta.main) {
  await runCommand({
    name: "job",
    usage,
    options: {
      owner: { type: "string" },
      job: { type: "string" },
      image: { type: "string", default: defaultImage },
    },
    positionals: { least: 1, most: 2 },
    run: async (values, [command, file]) => {
      if (command !== "submit") throw new UsageError(`there is no command "${command ?? ""}"`);
      const result = required(file, "the file to upload");
      const owner = required(values.owner, "the job's owner (--owner NAME)");
      const job = required(values.job, "the job's id (--job ID)");
      if (!isJobId(job)) {
        throw new UsageError(
          `--job ${job} is not a valid job id: letters, digits, _ and -, at most 64, starting with a letter or digit`,
        );
      }
      const { size } = await stat(result);
      const content = (): Readable => createReadStream(result);
      await submitJob(devCluster(), stackNamespace(), { job, owner, bytes: size, content }, values.image);
      process.stdout.write(
        `${job}: ${size} bytes, owned by ${owner}, are in geocrop-results/jobs/${job}/result.tif\n`,
      );
      return 0;
    },
  });
}
