import { join, resolve } from "node:path";

/** What a sandbox on this machine leaves for the tools. The sandbox itself keeps much more there (sandbox/layout.ts). */
export interface SandboxFiles {
  /** The folder that survives `npm run sandbox -- down`. */
  readonly data: string;
  /** The administrator's kubeconfig, mode 0600; there while a sandbox is. */
  readonly kubeconfig: string;
  /** The stack file that the sandbox deployed. */
  readonly stackFile: string;
}

/** @param environment GEOCROP_SANDBOX_DATA names another folder. @default /var/lib/geocrop-sandbox */
export function sandboxFiles(environment: NodeJS.ProcessEnv = process.env): SandboxFiles {
  const data = resolve(environment["GEOCROP_SANDBOX_DATA"] || "/var/lib/geocrop-sandbox");
  return { data, kubeconfig: join(data, "kubeconfig"), stackFile: join(data, "pulumi/Pulumi.dev.yaml") };
}
