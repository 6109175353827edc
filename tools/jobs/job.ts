import { randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { Readable, Writable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";

import { CoreV1Api, Exec, type KubeConfig, type V1Pod, type V1Status } from "@kubernetes/client-node";

import { podLabels, restrictedPod, unprivilegedId } from "../../components/kubernetes/workload.ts";
import { isJobId } from "../../services/signed-url-api/jobs/job-id.ts";
import { devCluster, stackNamespace } from "../kube/dev-cluster.ts";

const usage = "usage: npm run job -- submit --owner NAME --job ID [--image IMAGE] RESULT.tif";

/** The sandbox's build of images/job-client.Containerfile. */
const defaultImage = "geocrop.sandbox/job-client:dev";

/** Milliseconds for a job's pod to be ready, its image pulled. */
const patience = 120_000;

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
    await untilReady(api, namespace, name);
    await work((key, contentType, bytes, content) =>
      execute(
        cluster,
        namespace,
        name,
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
        content,
      ),
    );
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

async function untilReady(api: CoreV1Api, namespace: string, name: string): Promise<void> {
  const deadline = Date.now() + patience;
  while (Date.now() < deadline) {
    const { status } = await api.readNamespacedPod({ namespace, name });
    if (status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true)
      return;
    const waiting = status?.containerStatuses?.[0]?.state?.waiting;
    if (waiting?.reason === "ErrImagePull" || waiting?.reason === "ImagePullBackOff") {
      throw new Error(
        `The job's pod cannot have its image: ${waiting.message ?? waiting.reason}. Name one with --image.`,
      );
    }
    await pause(250);
  }
  throw new Error(`The job's pod ${namespace}/${name} was not ready within ${patience / 1000} s.`);
}

async function execute(
  cluster: KubeConfig,
  namespace: string,
  pod: string,
  command: string[],
  input: Readable,
): Promise<void> {
  const said: Buffer[] = [];
  const sink = () =>
    new Writable({
      write(chunk: Buffer, _, done) {
        said.push(chunk);
        done();
      },
    });
  const status = await new Promise<V1Status>((resolve, reject) => {
    new Exec(cluster)
      .exec(namespace, pod, "job-client", command, sink(), sink(), input, false, resolve)
      .then((connection) => connection.on("error", reject), reject);
  });
  if (status.status !== "Success") {
    throw new Error(
      `The upload failed: ${Buffer.concat(said).toString("utf8").trim() || status.message || "no reason given"}`,
    );
  }
}

if (import.meta.main) {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        owner: { type: "string" },
        job: { type: "string" },
        image: { type: "string", default: defaultImage },
      },
    });
    const [command, file] = positionals;
    const { owner, job } = values;
    if (command !== "submit" || file === undefined || positionals.length > 2 || !owner || job === undefined) {
      throw new Error(usage);
    }
    if (!isJobId(job)) {
      throw new Error(
        `--job ${job} is no job id: letters, digits, _ and -, at most 64, starting with a letter or digit`,
      );
    }
    const { size } = await stat(file);
    const result = { job, owner, bytes: size, content: () => createReadStream(file) };
    await submitJob(devCluster(), stackNamespace(), result, values.image);
    process.stdout.write(
      `${job}: ${size} bytes of ${owner}'s are in geocrop-results/jobs/${job}/result.tif\n`,
    );
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
