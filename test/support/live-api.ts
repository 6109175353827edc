import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import type { IncomingMessage, OutgoingHttpHeaders } from "node:http";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";

import { exportJWK, generateKeyPair, SignJWT } from "jose";

import { apiSignerPolicy, jobSubmitterPolicy, workerPolicy } from "../../components/access/iam-policies.ts";
import { ensureBuilds } from "../../sandbox/cluster/builds.ts";
import { layoutOf } from "../../sandbox/layout.ts";
import { runner } from "../../sandbox/run.ts";
import { put } from "../../services/job-client/put.ts";
import { startServer, type Server } from "../../services/signed-url-api/server.ts";
import { readSettings } from "../../services/signed-url-api/settings.ts";
import { startMinio, writeCertificate, type MinioServer, type User } from "./minio-server.ts";

const bucket = "geocrop-results";
const issuer = "https://issuer.test";
const audience = "geocrop-api";

/** The API over TLS in front of a real MinIO with the stack's identities and policies, all on loopback. */
export interface LiveApi {
  minio: MinioServer;
  api: Server;
  /** `https://127.0.0.1:<port>` */
  origin: string;
  /** Signs for the API. */
  signer: User;
  /** PEM file of the authorities of both. */
  caFile: string;
  /** The API's own certificate, good for any server on loopback. */
  tls: { cert: Buffer; key: Buffer };
  /** Every line that the API logged. */
  logs: () => string;
  token: (subject: string) => Promise<string>;
  submit: (jobId: string, owner: string, result?: Buffer) => Promise<void>;
  /** One request, its answer whole. */
  send: (url: string, options?: Sent) => Promise<Answer>;
  /** Starts another API with other settings, stopped with the rest. */
  startAnother: (settings: Record<string, string | undefined>) => Promise<Server>;
  remove: () => Promise<void>;
}

export interface Sent {
  method?: string;
  headers?: OutgoingHttpHeaders;
  body?: string;
}

export interface Answer {
  status: number;
  headers: IncomingMessage["headers"];
  body: Buffer;
}

export async function startLiveApi(settings: Record<string, string> = {}): Promise<LiveApi> {
  const step = { note: () => undefined, doing: () => undefined };
  const binaries = await ensureBuilds(layoutOf(), runner(new AbortController().signal), step);
  const minio = await startMinio({ minio: join(binaries.minio, "minio"), mc: join(binaries.mc, "mc") });
  const user = (accessKey: string): User => ({ accessKey, secretKey: randomUUID() });
  const [signer, worker, submitter] = [user("api-signer-1"), user("worker-1"), user("job-submitter-1")];
  await minio.mc("mb", `t/${bucket}`);
  await minio.addUser(signer, apiSignerPolicy(bucket));
  await minio.addUser(worker, workerPolicy(["geocrop-baselines"], bucket));
  await minio.addUser(submitter, jobSubmitterPolicy(bucket));

  const directory = await mkdtemp(join(tmpdir(), "live-api-"));
  await writeCertificate(directory);
  const caFile = join(directory, "ca.crt");
  const ca = Buffer.concat([minio.ca, await readFile(join(directory, "tls.crt"))]);
  await writeFile(caFile, ca);
  await writeFile(join(directory, "access-key"), signer.accessKey);
  await writeFile(join(directory, "secret-key"), signer.secretKey);
  const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
  const keys = [{ ...(await exportJWK(publicKey)), kid: "k", alg: "ES256" }];
  await writeFile(join(directory, "jwks.json"), JSON.stringify({ keys }));

  const lines: string[] = [];
  const log = { write: (text: string) => lines.push(text) };
  const started: Server[] = [];
  const startAnother: LiveApi["startAnother"] = async (more) => {
    const environment = {
      PORT: "0",
      METRICS_PORT: "0",
      TLS_DIR: directory,
      CREDENTIALS_DIR: directory,
      S3_ENDPOINT: minio.origin,
      S3_CA_FILE: minio.caFile,
      DOWNLOAD_URL: minio.origin,
      JWT_ISSUER: issuer,
      JWT_AUDIENCE: audience,
      JWKS_FILE: join(directory, "jwks.json"),
      RATE_PER_SUBJECT: "1000000",
      RATE_PER_ADDRESS: "1000000",
      ...settings,
      ...more,
    };
    const server = await startServer(readSettings(environment), log);
    started.push(server);
    return server;
  };
  const api = await startAnother({});
  const agent = new Agent({ ca, keepAlive: true });
  const putAs = async (as: User, key: string, content: Buffer): Promise<void> => {
    const upload = { bucket, key, bytes: content.length, contentType: "image/tiff" };
    await put(minio.client(as), upload, Readable.from([content]));
  };

  return {
    minio,
    api,
    origin: `https://127.0.0.1:${api.port}`,
    signer,
    caFile,
    tls: {
      cert: await readFile(join(directory, "tls.crt")),
      key: await readFile(join(directory, "tls.key")),
    },
    logs: () => lines.join(""),
    startAnother,
    token: (subject) =>
      new SignJWT({})
        .setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid: "k" })
        .setIssuer(issuer)
        .setAudience(audience)
        .setSubject(subject)
        .setExpirationTime("10m")
        .sign(privateKey),
    submit: async (jobId, owner, result) => {
      await putAs(submitter, `jobs/${jobId}/job.json`, Buffer.from(JSON.stringify({ job_id: jobId, owner })));
      if (result !== undefined) await putAs(worker, `jobs/${jobId}/result.tif`, result);
    },
    send: async (url, { method = "GET", headers = {}, body } = {}) => {
      // Named here, or a made-up Host would be what the certificate is checked for.
      const sent = request(url, { method, headers, agent, servername: "localhost" });
      sent.end(body);
      const [answer]: IncomingMessage[] = await once(sent, "response");
      if (answer === undefined) throw new Error("no answer");
      return { status: answer.statusCode ?? 0, headers: answer.headers, body: await buffer(answer) };
    },
    remove: async () => {
      agent.destroy();
      for (const server of started) await server.stop(0);
      await minio.remove();
      await rm(directory, { recursive: true });
    },
  };
}
