import { parseArgs } from "node:util";

import type { KubeConfig } from "@kubernetes/client-node";
import { importJWK, SignJWT, type JWK_EC_Private } from "jose";

import { devTokens } from "../../components/api/dev-tokens.ts";
import { devCluster, readSecretValue, stackNamespace } from "../kube/dev-cluster.ts";

const usage = "usage: npm run token -- --sub NAME [--ttl 10m]   (ttl: 30s, 10m, 2h; at most 24h)";
const longestTtl = 24 * 60 * 60;

/** Seconds in `30s`, `10m` or `2h`. @throws Error that says what is wrong. */
export function ttlSeconds(text: string): number {
  const [, amount, unit] = /^(\d+)([smh])$/.exec(text) ?? [];
  const seconds = Number(amount) * (unit === "h" ? 3600 : unit === "m" ? 60 : 1);
  if (!(seconds > 0 && seconds <= longestTtl))
    throw new Error(`--ttl ${text} is no time from 1s to 24h\n${usage}`);
  return seconds;
}

/** A token that the dev stack's API takes, signed with the development issuer's key out of the cluster. */
export async function mintToken(
  cluster: KubeConfig,
  namespace: string,
  subject: string,
  ttl: number,
): Promise<string> {
  const text = await readSecretValue(cluster, namespace, devTokens.secret, devTokens.secretKey);
  const jwk: JWK_EC_Private & { kid: string } = JSON.parse(text);
  return new SignJWT({ client_id: "npm-run-token" })
    .setProtectedHeader({ alg: devTokens.algorithm, typ: "at+jwt", kid: jwk.kid })
    .setIssuer(devTokens.issuer)
    .setAudience(devTokens.audience)
    .setSubject(subject)
    .setJti(crypto.randomUUID())
    .setIssuedAt()
    .setExpirationTime(Math.floor(Date.now() / 1000) + ttl)
    .sign(await importJWK(jwk, devTokens.algorithm));
}

if (import.meta.main) {
  try {
    const { values } = parseArgs({
      options: { sub: { type: "string" }, ttl: { type: "string", default: "10m" } },
    });
    if (values.sub === undefined || values.sub === "") throw new Error(usage);
    const token = await mintToken(devCluster(), stackNamespace(), values.sub, ttlSeconds(values.ttl));
    process.stdout.write(`${token}\n`);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
