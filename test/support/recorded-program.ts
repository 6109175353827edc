import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";

import * as pulumi from "@pulumi/pulumi";
import type { openTunnel as OpenTunnel } from "../../components/minio/tunnel.ts";
import { MockMonitor } from "@pulumi/pulumi/runtime/mocks.js";
import { vi } from "vitest";
import { parse } from "yaml";

export interface Registration {
  readonly type: string;
  readonly name: string;
  readonly inputs: Record<string, unknown>;
  readonly custom: boolean;
}

export interface Recording {
  readonly registrations: readonly Registration[];
  /** With the types of each resource's parents. */
  readonly urns: readonly string[];
  readonly tunnelsOpened: number;
}

/** The mark that the SDK puts on secrets that it sends to an engine. */
const secretMark = "4dabf18193072939515e22adb298388d";

export function isSecret(value: unknown): value is { readonly value: unknown } {
  return typeof value === "object" && value !== null && secretMark in value;
}

/** What a real provider would tell after the resource was made, and so nobody may wait for in a preview. */
function serverSide(type: string, name: string): Record<string, unknown> {
  switch (type) {
    case "random:index/randomString:RandomString":
      return { result: `RANDOM-${name}` };
    case "random:index/randomPassword:RandomPassword":
      return { result: `password-of-${name}` };
    case "tls:index/privateKey:PrivateKey":
      return testKey;
    case "tls:index/selfSignedCert:SelfSignedCert":
    case "tls:index/locallySignedCert:LocallySignedCert":
      return { certPem: `certificate-of-${name}` };
    case "tls:index/certRequest:CertRequest":
      return { certRequestPem: `request-of-${name}` };
    default:
      return {};
  }
}

const { privateKey, publicKey } = generateKeyPairSync("ec", {
  namedCurve: "P-256",
  privateKeyEncoding: { type: "sec1", format: "pem" },
  publicKeyEncoding: { type: "spki", format: "pem" },
});
const testKey = { privateKeyPem: privateKey, publicKeyPem: publicKey };

/** Runs `index.ts` on a stack file with Pulumi's mocks and hands back all that it registered. */
export async function recordProgram(
  stack: string,
  preview: boolean,
  change: Record<string, unknown> = {},
): Promise<Recording> {
  const { config } = parse(readFileSync(`Pulumi.${stack}.yaml`, "utf8"));
  const settings = { ...config, ...change };
  pulumi.runtime.setAllConfig(
    Object.fromEntries(
      Object.entries(settings).map(([key, value]) => [
        key,
        typeof value === "string" ? value : JSON.stringify(value),
      ]),
    ),
  );
  const registrations: Registration[] = [];
  await pulumi.runtime.setMocks(
    {
      newResource: ({ type, name, inputs, custom }) => {
        registrations.push({ type, name, inputs, custom: custom ?? false });
        if (preview) return { id: undefined, state: inputs };
        return { id: `${name}-id`, state: { ...inputs, ...serverSide(type, name) } };
      },
      call: ({ token }) => {
        throw new Error(`the program called ${token}, which needs an engine`);
      },
    },
    "geocrop-storage",
    stack,
    preview,
  );
  const openTunnel = vi.fn<typeof OpenTunnel>(() =>
    Promise.resolve({ address: "127.0.0.1:19000", authorityFile: "ca.crt" }),
  );
  vi.resetModules();
  vi.doMock("../../components/minio/tunnel.ts", () => ({ openTunnel }));
  await import("../../index.ts");
  await pulumi.runtime.disconnect();

  return { registrations, urns: registeredUrns(), tunnelsOpened: openTunnel.mock.calls.length };
}

function registeredUrns(): string[] {
  const monitor: unknown = pulumi.runtime.getMonitor();
  if (!(monitor instanceof MockMonitor)) throw new Error("the program ran without mocks");
  return [...monitor.getRegisteredResources().keys()];
}
