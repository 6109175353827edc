import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { addons } from "../../../../sandbox/cluster/addons.ts";
import { builds, goArguments, moduleFolder } from "../../../../sandbox/cluster/builds.ts";
import { layoutOf } from "../../../../sandbox/layout.ts";
import { components } from "../../../../sandbox/cluster/node/components.ts";
import {
  containerdConfig,
  cniConfig,
  kubeletConfig,
  kubeProxyConfig,
} from "../../../../sandbox/cluster/node/config-files.ts";
import { certificates } from "../../../../sandbox/cluster/node/pki.ts";

const layout = layoutOf({ GEOCROP_SANDBOX_DATA: "/data", GEOCROP_SANDBOX_CACHE: "/cache" });

describe("the node", () => {
  test("keeps everything of its own below the folders it is given", () => {
    const { project: _, runtime, lock, nodeRecord, ...rest } = layout;
    for (const path of Object.values(rest)) expect(path).toMatch(/^\/(data|cache)(\/|$)/);
    for (const path of [lock, nodeRecord]) expect(path.startsWith(`${runtime}/`)).toBe(true);
  });

  test("has no secret among its processes' arguments: each is named by its file", () => {
    for (const { args } of components(layout, "/bin")) {
      for (const argument of args) expect(argument).not.toMatch(/PRIVATE KEY|BEGIN|secret=|token=/i);
    }
  });

  test("starts a component only once what it talks to answers", () => {
    const list = components(layout, "/bin");
    const needsOf = (name: string) => list.find((component) => component.name === name)?.needs;
    expect(needsOf("kube-apiserver")).toEqual([{ port: 2379 }]);
    expect(needsOf("kubelet")).toEqual([{ port: 6443 }, { socket: "/run/containerd/containerd.sock" }]);
    for (const name of ["kube-controller-manager", "kube-scheduler", "kube-proxy", "node-agent"]) {
      expect(needsOf(name)).toEqual([{ port: 6443 }]);
    }
  });

  test("lets nobody in without a certificate or a token", () => {
    const apiServer = components(layout, "/bin").find(({ name }) => name === "kube-apiserver")?.args ?? [];
    expect(apiServer).toContain("--anonymous-auth=false");
    expect(apiServer).toContain("--authorization-mode=Node,RBAC");
    expect(kubeletConfig(layout)).toMatchObject({
      authentication: { anonymous: { enabled: false } },
      authorization: { mode: "Webhook" },
    });
  });

  test("changes nothing of the host's kernel, and lowers no out-of-memory score", () => {
    expect(kubeletConfig(layout)).toMatchObject({ protectKernelDefaults: true, oomScoreAdj: 0 });
    expect(kubeProxyConfig(layout)).toMatchObject({ conntrack: { maxPerCore: 0, min: 0 }, oomScoreAdj: 0 });
    expect(containerdConfig(layout)).toContain("restrict_oom_score_adj = true");
    expect(containerdConfig(layout)).toContain("disable_apparmor = true");
  });

  test("forgets the pods' addresses when it stops", () => {
    expect(JSON.parse(cniConfig())).toMatchObject({
      plugins: [{ ipam: { dataDir: expect.stringMatching(/^\/run\//) } }, { type: "portmap" }],
    });
  });

  test("gives cluster-admin to the administrator alone", () => {
    const admins = certificates.filter(({ organization }) => organization === "system:masters");
    expect(admins.map(({ name }) => name)).toEqual(["admin"]);
  });

  test("server certificates name where they are good, client certificates don't", () => {
    for (const { usage, altNames } of certificates) {
      expect(altNames === undefined).toBe(usage === "client");
    }
  });
});

describe("add-ons", () => {
  test("DNS runs the given image under the restricted profile, on the port that policies name", async () => {
    const objects = await addons("geocrop.sandbox/coredns@sha256:0");
    const deployment = objects.find(({ kind }) => kind === "Deployment");
    expect(deployment).toMatchObject({
      spec: {
        template: {
          metadata: { labels: { "k8s-app": "kube-dns" } },
          spec: {
            securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
            containers: [
              {
                image: "geocrop.sandbox/coredns@sha256:0",
                ports: [{ containerPort: 53 }, { containerPort: 53 }],
                securityContext: {
                  allowPrivilegeEscalation: false,
                  readOnlyRootFilesystem: true,
                  capabilities: { drop: ["ALL"] },
                },
              },
            ],
          },
        },
      },
    });
  });
});

describe("builds", () => {
  test("the node's binaries come first, and tell the version that go.mod pins", async () => {
    const [first] = builds;
    expect(first.name).toBe("kubernetes");
    const module = await readFile(join(moduleFolder(layoutOf({}), first), "go.mod"), "utf8");
    const version = /^\s*k8s\.io\/kubernetes (v\S+)/m.exec(module)?.[1];
    expect(version).toMatch(/^v1\./);
    expect(goArguments(first).at(-1)).toContain(`version.gitVersion=${version ?? ""}`);
  });
});
