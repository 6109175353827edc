import { join } from "node:path";

/** What the process is told by its environment. Secrets come as files, never as values. */
export interface Settings {
  /** TCP port of the HTTPS listener. @default 8443 */
  readonly port: number;
  /** Directory with `tls.crt` and `tls.key`. @default /etc/geocrop/tls */
  readonly tlsDir: string;
  /** File holding the bearer token that MinIO sends. @default /etc/geocrop/audit-token/token */
  readonly tokenFile: string;
  /** Directory of the journal, on a volume that outlives the pod. @default /var/lib/audit */
  readonly dataDir: string;
}

/**
 * Reads the settings.
 *
 * @throws Error naming the variable, its value and what is expected.
 */
export function readSettings(env: Readonly<Record<string, string | undefined>>): Settings {
  const text = env["PORT"] ?? "8443";
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) {
    throw new Error(`PORT is "${text}": give a TCP port, 0 to 65535`);
  }
  const mounts = "/etc/geocrop";
  return {
    port,
    tlsDir: env["TLS_DIR"] ?? join(mounts, "tls"),
    tokenFile: env["TOKEN_FILE"] ?? join(mounts, "audit-token", "token"),
    dataDir: env["DATA_DIR"] ?? "/var/lib/audit",
  };
}
