import { isIP } from "node:net";

import { headlessServices, serviceHost, servers } from "../../config/names.ts";
import type { Settings } from "../../config/schema.ts";

/** A server and the names that its clients may call it by. */
export interface ServerNames {
  readonly name: string;
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
}

/** The stack's servers, each by the names that its certificate must carry. */
export function certificateServers({ namespace, api, downloads }: Settings): readonly ServerNames[] {
  const minio = serverNames(servers.minio.name, namespace);
  return [
    {
      ...minio,
      // Peers call each other by pod; the tunnel ends on this machine.
      dnsNames: [...minio.dnsNames, `*.${serviceHost(headlessServices.minio, namespace)}`, "localhost"],
      ipAddresses: ["127.0.0.1"],
    },
    serverNames(servers.auditReceiver.name, namespace),
    serverNames(servers.api.name, namespace, api.publicUrl),
    serverNames(servers.downloads.name, namespace, downloads.publicUrl),
  ];
}

/** A server's names inside the cluster, and the host of its public address where it has one. */
export function serverNames(service: string, namespace: string, publicUrl?: string): ServerNames {
  const names: string[] = [service, `${service}.${namespace}`, `${service}.${namespace}.svc`];
  names.push(serviceHost(service, namespace));
  const host = publicUrl === undefined ? undefined : new URL(publicUrl).hostname;
  if (host === undefined) return { name: service, dnsNames: names, ipAddresses: [] };
  return isIP(host) === 0
    ? { name: service, dnsNames: [...names, host], ipAddresses: [] }
    : { name: service, dnsNames: names, ipAddresses: [host] };
}
