import type { X509Certificate } from "node:crypto";
import { once } from "node:events";

import { certificateServers, type ServerNames } from "../../../components/tls/server-names.ts";
import type { Check } from "../check.ts";
import { handshake } from "../../kube/forward.ts";
import { serverNames, type ServerName, type Target } from "../target.ts";

/** Every issuer here renews 30 days before the end; a certificate closer to it than this was not renewed. */
const fewestDays = 14;

/** What a client says that knows nothing newer than TLS 1.1. */
const oldTls = {
  minVersion: "TLSv1",
  maxVersion: "TLSv1.1",
  ciphers: "DEFAULT:@SECLEVEL=0",
  // Whose certificate it is, is for another check to say.
  rejectUnauthorized: false,
} as const;

async function eachServer(look: (server: ServerName) => Promise<string | undefined>): Promise<string[]> {
  const faults = await Promise.all(serverNames.map(look));
  return faults.filter((fault) => fault !== undefined);
}

/** The first line that a server answers to plain HTTP, or nothing. */
async function plainAnswer(target: Target, server: ServerName): Promise<string> {
  const stream = await target.connect(server);
  const path = server === "minio" ? "/minio/health/live" : "/healthz";
  let answer = "";
  stream.on("data", (chunk: Buffer) => (answer += chunk.toString("latin1")));
  stream.write(`GET ${path} HTTP/1.1\r\nHost: ${target.hostOf(server)}\r\nConnection: close\r\n\r\n`);
  await Promise.race([once(stream, "close"), once(stream, "end"), silence(3000)]);
  stream.destroy();
  return answer.split("\r\n")[0] ?? "";
}

const silence = (milliseconds: number) =>
  new Promise((resolve) => {
    setTimeout(resolve, milliseconds).unref();
  });

function daysLeft(certificate: X509Certificate): number {
  return Math.floor((certificate.validToDate.getTime() - Date.now()) / 86_400_000);
}

/** What is wrong with a certificate whose chain is right. */
export function certificateFault(
  certificate: X509Certificate,
  { dnsNames, ipAddresses }: Pick<ServerNames, "dnsNames" | "ipAddresses">,
): string | undefined {
  // A name for any pod is tried by one.
  const missing = [
    ...dnsNames.filter((name) => certificate.checkHost(name.replace("*", "pod-0")) === undefined),
    ...ipAddresses.filter((address) => certificate.checkIP(address) === undefined),
  ];
  if (missing.length > 0) return `is not for ${missing.join(", ")}`;
  const left = daysLeft(certificate);
  return left < fewestDays ? `ends in ${left} days` : undefined;
}

export const transportChecks: readonly Check[] = [
  {
    id: "tls.version",
    proves: '"Use TLS: Ensure all MinIO communication uses TLS 1.2+"',
    how: "offers each server TLS 1.1 at most, which it must answer with the alert for it, and 1.2 and 1.3, which it must take",
    remedy:
      "MinIO and the images here refuse it by themselves: see whether the image or its settings are the declared ones",
    async run(target) {
      const faults = await eachServer(async (server) => {
        const authority = { ca: await target.authorityOf(server), servername: target.hostOf(server) };
        const old = await handshake(await target.connect(server), { ...authority, ...oldTls });
        if (!("refusal" in old)) {
          const taken = old.getProtocol();
          old.destroy();
          return `${server} takes ${taken}`;
        }
        if (!/PROTOCOL_VERSION/.test(old.refusal))
          return `${server} refuses TLS 1.1 for another reason: ${old.refusal}`;
        for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
          const options = { ...authority, minVersion: version, maxVersion: version };
          const socket = await handshake(await target.connect(server), options);
          if ("refusal" in socket) return `${server} refuses ${version}: ${socket.refusal}`;
          socket.destroy();
        }
        return undefined;
      });
      return { seen: `${serverNames.join(", ")}: 1.1 refused, 1.2 and 1.3 taken`, faults };
    },
  },
  {
    id: "tls.plain-http",
    proves:
      '"Ensure all MinIO communication uses TLS"; MinIO serves plain HTTP, silently, when its certificate is missing',
    how: "sends each server an HTTP request without TLS; the connection must be closed, or answered 400",
    remedy: "see whether the Secret <server>-tls holds tls.crt and tls.key, and restart the pods",
    async run(target) {
      const faults = await eachServer(async (server) => {
        const answer = await plainAnswer(target, server);
        return answer === "" || / 400 /.test(`${answer} `)
          ? undefined
          : `${server} answers plain HTTP with ${answer}`;
      });
      return { seen: `${serverNames.join(", ")}: refused`, faults };
    },
  },
  {
    id: "tls.certificates",
    proves:
      "each server shows a certificate of the stack's authority, for the names that clients call it by, with days left",
    how: `checks chain, every declared name, and that at least ${fewestDays} days are left`,
    remedy:
      "run pulumi up: it renews 30 days before the end; with cert-manager, see its Certificate's status",
    async run(target) {
      const days: string[] = [];
      const declared = certificateServers(target.settings);
      const faults = await eachServer(async (server) => {
        const ca = await target.authorityOf(server);
        const socket = await handshake(await target.connect(server), {
          ca,
          servername: target.hostOf(server),
        });
        if ("refusal" in socket) return `${server}: ${socket.refusal}`;
        const certificate = socket.getPeerX509Certificate();
        socket.destroy();
        const names = declared.find(({ name }) => name === server);
        if (certificate === undefined || names === undefined) return `${server} shows no certificate`;
        days.push(`${server} ${daysLeft(certificate)} days`);
        const fault = certificateFault(certificate, names);
        return fault === undefined ? undefined : `${server}'s certificate ${fault}`;
      });
      return { seen: days.join(", "), faults };
    },
  },
];
