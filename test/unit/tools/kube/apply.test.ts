import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { text } from "node:stream/consumers";

import { KubeConfig } from "@kubernetes/client-node";
import { afterEach, expect, test } from "vitest";

import { applyObjects } from "../../../../tools/kube/apply.ts";

let server: Server | undefined;
afterEach(() => server?.close());

interface Received {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly type: string | undefined;
  readonly body: unknown;
}

/** An API server that knows NetworkPolicies, and a cluster that leads to it. */
async function apiServer(received: Received[]): Promise<KubeConfig> {
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    response.setHeader("content-type", "application/json");
    if (request.method === "GET") {
      const kind = { name: "networkpolicies", kind: "NetworkPolicy", namespaced: true };
      response.end(JSON.stringify({ kind: "APIResourceList", resources: [kind] }));
      return;
    }
    const { method, url, headers } = request;
    received.push({ method, url, type: headers["content-type"], body: JSON.parse(await text(request)) });
    response.end("{}");
  };
  server = createServer((request, response) => void answer(request, response));
  await once(server.listen(0, "127.0.0.1"), "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const cluster = new KubeConfig();
  cluster.loadFromClusterAndUser(
    { name: "test", server: `http://127.0.0.1:${port}`, skipTLSVerify: true },
    { name: "user" },
  );
  return cluster;
}

test("an object is sent as it is: whom a NetworkPolicy lets in is not dropped", async () => {
  const received: Received[] = [];
  const policy = {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "minio", namespace: "geocrop" },
    spec: {
      podSelector: {},
      ingress: [{ from: [{ podSelector: { matchLabels: { app: "worker" } } }] }],
      notYetKnown: 1,
    },
  };
  await applyObjects(await apiServer(received), [policy], "a-test");
  expect(received).toEqual([
    {
      method: "PATCH",
      url: "/apis/networking.k8s.io/v1/namespaces/geocrop/networkpolicies/minio?fieldManager=a-test&force=true",
      type: "application/apply-patch+yaml",
      body: policy,
    },
  ]);
});

test("a kind that the cluster does not have is named", async () => {
  const certificate = { apiVersion: "cert-manager.io/v1", kind: "Certificate", metadata: { name: "a" } };
  await expect(applyObjects(await apiServer([]), [certificate], "a-test")).rejects.toThrow(
    /cert-manager\.io\/v1.*Certificate/,
  );
});
