import type { KubeConfig } from "@kubernetes/client-node";
import { importJWK, SignJWT, type JWK_EC_Private } from "jose";

import { devTokens } from "../../components/api/dev-tokens.ts";
import { required, runCommand, UsageError } from "../command-line.ts";
import { devCluster, readSecretValue, stackNamespace } from "../kube/dev-cluster.ts";

const usage = `Prints a token that the dev stack's API accepts, signed with the development issuer's key from the cluster.

npm run --silent token -- --sub NAME    whose token it is: the claim sub
  --ttl TIME                            30s, 10m, 2h; at most 24h [10m]

GEOCROP_NAMESPACE names the stack's namespace [geocrop], KUBECONFIG the cluster [the sandbox].
`;

/** Seconds. */
const maxTtl = 24 * 60 * 60;

/** Seconds in `30s`, `10m` or `2h`. @throws UsageError when it is none of these, or more than 24 h. */
export function ttlSeconds(text: string): number {
  const [, amount, unit] = /^(\d+)([smh])$/.exec(text) ?? [];
  const seconds = Number(amount) * (unit === "h" ? 3600 : unit === "m" ? 60 : 1);
  if (!(seconds > 0 && seconds <= maxTtl))
    throw new UsageError(`--ttl ${text} is not a valid time: it takes 1s to 24h`);
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
  await runCommand({
    name: "token",
    usage,
    options: { sub: { type: "string" }, ttl: { type: "string", default: "10m" } },
    run: async (values) => {
      const subject = required(values.sub, "the user (--sub NAME)");
      const ttl = ttlSeconds(values.ttl);
      process.stdout.write(`${await mintToken(devCluster(), stackNamespace(), subject, ttl)}\n`);
      return 0;
    },
  });
}
