import { X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { network, nodeName } from "../../layout.ts";
import type { Run } from "../../run.ts";

/** A certificate the node needs: who it is for, and where it is good. */
export interface CertificateRequest {
  readonly name: string;
  readonly commonName: string;
  /** Kubernetes reads a client certificate's organization as its group. */
  readonly organization?: string;
  readonly usage: "client" | "server";
  /** `DNS:` and `IP:` entries, for servers. */
  readonly altNames?: readonly string[];
}

/** Every certificate of the node, all by the cluster's own authority. */
export const certificates: readonly CertificateRequest[] = [
  { name: "etcd", commonName: "etcd", usage: "server", altNames: ["IP:127.0.0.1"] },
  { name: "etcd-client", commonName: "kube-apiserver", usage: "client" },
  {
    name: "apiserver",
    commonName: "kube-apiserver",
    usage: "server",
    altNames: [
      "DNS:kubernetes",
      "DNS:kubernetes.default",
      "DNS:kubernetes.default.svc",
      `DNS:kubernetes.default.svc.${network.clusterDomain}`,
      "DNS:localhost",
      "IP:127.0.0.1",
      `IP:${network.nodeAddress}`,
      `IP:${network.apiServerServiceAddress}`,
    ],
  },
  {
    name: "apiserver-kubelet-client",
    commonName: "kube-apiserver-kubelet-client",
    usage: "client",
  },
  {
    name: "kubelet-server",
    commonName: `system:node:${nodeName}`,
    usage: "server",
    altNames: [`DNS:${nodeName}`, `IP:${network.nodeAddress}`],
  },
  {
    name: "kubelet",
    commonName: `system:node:${nodeName}`,
    organization: "system:nodes",
    usage: "client",
  },
  { name: "admin", commonName: "sandbox-admin", organization: "system:masters", usage: "client" },
  { name: "kube-controller-manager", commonName: "system:kube-controller-manager", usage: "client" },
  { name: "kube-scheduler", commonName: "system:kube-scheduler", usage: "client" },
  { name: "kube-proxy", commonName: "system:kube-proxy", usage: "client" },
  { name: "node-agent", commonName: "sandbox-node-agent", usage: "client" },
];

const authorityDays = 3650;
const certificateDays = 365;
/** A certificate with less left than this is made anew at the next start of the node. */
const renewalDays = 60;

/** Paths of a certificate and its key. */
export function certificatePaths(pki: string, name: string): { certificate: string; key: string } {
  return { certificate: join(pki, `${name}.crt`), key: join(pki, `${name}.key`) };
}

/**
 * Makes what is missing or about to expire: the authority, the certificates, the key that signs service account
 * tokens. The folder and its keys are the user's alone.
 */
export async function ensurePki(pki: string, run: Run): Promise<void> {
  await mkdir(pki, { recursive: true, mode: 0o700 });
  const authority = certificatePaths(pki, "ca");
  if (!(await isValid(authority.certificate, authority.key))) {
    await make(authority, [
      "-subj",
      "/CN=geocrop-sandbox",
      "-days",
      String(authorityDays),
      "-addext",
      "basicConstraints=critical,CA:TRUE,pathlen:0",
      "-addext",
      "keyUsage=critical,keyCertSign,cRLSign",
    ]);
    // What the former authority signed is worth nothing now.
    for (const { name } of certificates) await rm(certificatePaths(pki, name).certificate, { force: true });
  }
  for (const request of certificates) {
    const paths = certificatePaths(pki, request.name);
    if (await isValid(paths.certificate, paths.key)) continue;
    await make(paths, [
      "-CA",
      authority.certificate,
      "-CAkey",
      authority.key,
      "-days",
      String(certificateDays),
      "-subj",
      subject(request),
      "-addext",
      "basicConstraints=critical,CA:FALSE",
      "-addext",
      "keyUsage=critical,digitalSignature",
      "-addext",
      `extendedKeyUsage=${request.usage}Auth`,
      ...(request.altNames === undefined ? [] : ["-addext", `subjectAltName=${request.altNames.join(",")}`]),
    ]);
  }
  const serviceAccount = certificatePaths(pki, "service-account");
  if (!existsSync(serviceAccount.key)) {
    await make(serviceAccount, ["-subj", "/CN=service-account", "-days", String(authorityDays)]);
  }

  /** OpenSSL writes beside the final names, so that an interrupted run leaves no half of a pair behind. */
  async function make(paths: { certificate: string; key: string }, args: readonly string[]): Promise<void> {
    const part = { certificate: `${paths.certificate}.part`, key: `${paths.key}.part` };
    await run("openssl", [
      "req",
      "-x509",
      "-new",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-sha256",
      "-keyout",
      part.key,
      "-out",
      part.certificate,
      ...args,
    ]);
    await rename(part.key, paths.key);
    await rename(part.certificate, paths.certificate);
  }
}

/** Whether a certificate and its key exist and will not expire soon. */
async function isValid(certificate: string, key: string): Promise<boolean> {
  if (!existsSync(certificate) || !existsSync(key)) return false;
  const { validToDate } = new X509Certificate(await readFile(certificate));
  return validToDate.getTime() - Date.now() > renewalDays * 86_400_000;
}

function subject({ organization, commonName }: CertificateRequest): string {
  return organization === undefined ? `/CN=${commonName}` : `/O=${organization}/CN=${commonName}`;
}
