import { createPrivateKey, createPublicKey } from "node:crypto";

import * as kubernetes from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import * as tls from "@pulumi/tls";

import { contentHash } from "../kubernetes/content-hash.ts";
import { devTokens } from "./dev-tokens.ts";
import { secretData } from "../kubernetes/secrets.ts";

const keyId = "dev";

/** How the API checks tokens: who issued them, for whom, and where the issuer's public keys are. */
export interface TokenRules {
  readonly issuer: string;
  readonly audience: string;
  readonly algorithms: readonly string[];
  /** A remote JWKS, or the ConfigMap that holds one. */
  readonly keys:
    | { readonly url: string; readonly ca?: string | undefined }
    | { readonly configMap: pulumi.Output<string>; readonly hash: pulumi.Output<string> };
}

export interface DevIssuerArgs {
  readonly namespace: pulumi.Input<string>;
}

/**
 * Stands in for an identity provider on a stack to try things on: its signing key is in the Secret
 * `dev-issuer`, for `npm run token`, and its public half is what the API trusts.
 */
export class DevIssuer extends pulumi.ComponentResource {
  readonly rules: TokenRules;

  constructor(name: string, args: DevIssuerArgs, opts?: pulumi.ComponentResourceOptions) {
    super("geocrop:storage:DevIssuer", name, {}, opts);
    const parent = { parent: this };
    const { namespace } = args;

    const key = new tls.PrivateKey(`${name}-key`, { algorithm: "ECDSA", ecdsaCurve: "P256" }, parent);
    new kubernetes.core.v1.Secret(
      `${name}-key`,
      {
        metadata: { name: devTokens.secret, namespace },
        data: secretData({ [devTokens.secretKey]: pulumi.secret(key.privateKeyPem).apply(privateJwk) }),
      },
      parent,
    );
    const jwks = key.publicKeyPem.apply(publicJwks);
    const configMap = new kubernetes.core.v1.ConfigMap(
      `${name}-jwks`,
      { metadata: { name: "jwks", namespace }, data: { "jwks.json": jwks } },
      parent,
    );
    this.rules = {
      issuer: devTokens.issuer,
      audience: devTokens.audience,
      algorithms: [devTokens.algorithm],
      keys: { configMap: configMap.metadata.name, hash: jwks.apply(contentHash) },
    };
    this.registerOutputs({});
  }
}

function privateJwk(pem: string): string {
  return JSON.stringify({
    ...createPrivateKey(pem).export({ format: "jwk" }),
    kid: keyId,
    alg: devTokens.algorithm,
    use: "sig",
  });
}

function publicJwks(pem: string): string {
  const key = createPublicKey(pem).export({ format: "jwk" });
  return JSON.stringify({ keys: [{ ...key, kid: keyId, alg: devTokens.algorithm, use: "sig" }] });
}
