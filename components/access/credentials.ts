import * as kubernetes from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import { credentialsSecretName, identities, type Identity, keyPairFiles } from "../../config/names.ts";
import { secretData } from "../kubernetes/secrets.ts";

/** The longest secret key that MinIO takes (7aac2a2, internal/auth/credentials.go). */
const secretKeyLength = 40;

export interface KeyPair {
  readonly accessKey: pulumi.Output<string>;
  readonly secretKey: pulumi.Output<string>;
}

export interface CredentialsArgs {
  readonly namespace: pulumi.Input<string>;
  /**
   * Which turn of the identities' keys is in use. The turn before it stays valid, so that URLs and pods that
   * still use it live on until the next one.
   */
  readonly generation: number;
}

/** Generated keys, one pair an identity and turn; the pair in use is in the Secret `credentials-<identity>`. */
export class Credentials extends pulumi.ComponentResource {
  readonly root: KeyPair;
  /** What MinIO shows the audit receiver to prove itself. */
  readonly auditToken: pulumi.Output<string>;
  readonly #pairs: ReadonlyMap<Identity, ReadonlyMap<number, KeyPair>>;

  constructor(name: string, args: CredentialsArgs, opts?: pulumi.ComponentResourceOptions) {
    super("geocrop:storage:Credentials", name, {}, opts);
    const generations = [args.generation - 1, args.generation].filter((generation) => generation > 0);

    this.root = this.#keyPair(`${name}-root`, "root");
    this.auditToken = this.#password(`${name}-audit-token`);
    this.#pairs = new Map(
      identities.map((identity) => {
        const pairs = new Map(
          generations.map((generation) => [
            generation,
            this.#keyPair(`${name}-${identity}-g${generation}`, identity),
          ]),
        );
        const current = pairs.get(args.generation);
        if (current !== undefined) {
          new kubernetes.core.v1.Secret(
            `${name}-${identity}`,
            {
              metadata: { name: credentialsSecretName(identity), namespace: args.namespace },
              data: secretData({
                [keyPairFiles.accessKey]: current.accessKey,
                [keyPairFiles.secretKey]: current.secretKey,
              }),
            },
            { parent: this },
          );
        }
        return [identity, pairs];
      }),
    );
    this.registerOutputs({});
  }

  /** An identity's valid key pairs, the oldest first; the last is in use. */
  turnsOf(identity: Identity): readonly (readonly [generation: number, pair: KeyPair])[] {
    return [...(this.#pairs.get(identity) ?? [])];
  }

  /** An access key that cannot be guessed: the known server holes need to know one (docs/security model). */
  #keyPair(name: string, owner: string): KeyPair {
    const suffix = new random.RandomString(
      `${name}-access-key`,
      { length: 12, special: false, lower: false },
      { parent: this },
    );
    return {
      accessKey: pulumi.interpolate`${owner}-${suffix.result}`,
      secretKey: this.#password(`${name}-secret-key`),
    };
  }

  #password(name: string): pulumi.Output<string> {
    const password = new random.RandomPassword(
      name,
      { length: secretKeyLength, special: false },
      { parent: this, additionalSecretOutputs: ["result"] },
    );
    return pulumi.secret(password.result);
  }
}

// For importers that do not name config/names.ts yet.
export { credentialsSecretName, identities, type Identity } from "../../config/names.ts";
