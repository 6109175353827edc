import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import { identities, type Identity } from "../../config/names.ts";

/** The longest secret key that MinIO takes (7aac2a2, internal/auth/credentials.go). */
const secretKeyLength = 40;

export interface KeyPair {
  readonly accessKey: pulumi.Output<string>;
  readonly secretKey: pulumi.Output<string>;
}

/** An identity's key pair of one generation. */
export interface KeyGeneration {
  readonly generation: number;
  readonly pair: KeyPair;
}

export interface CredentialsArgs {
  /**
   * The generation of the identities' keys that is in use. The generation before it stays valid, so that URLs and
   * pods that still use it work until the next rotation.
   */
  readonly generation: number;
}

/** Generated keys: root's, the audit log's token, and one pair for each identity and valid generation. */
export class Credentials extends pulumi.ComponentResource {
  readonly root: KeyPair;
  /** What MinIO shows the audit receiver to prove itself. */
  readonly auditToken: pulumi.Output<string>;
  readonly #name: string;
  readonly #generations: ReadonlyMap<Identity, readonly KeyGeneration[]>;

  constructor(name: string, args: CredentialsArgs, opts?: pulumi.ComponentResourceOptions) {
    super("geocrop:storage:Credentials", name, {}, opts);
    this.#name = name;
    this.root = this.#keyPair(`${name}-root`, "root");
    this.auditToken = this.#password(`${name}-audit-token`);
    const valid = [args.generation - 1, args.generation].filter((generation) => generation > 0);
    this.#generations = new Map(
      identities.map((identity) => [
        identity,
        valid.map((generation) => ({
          generation,
          pair: this.#keyPair(`${name}-${identity}-g${generation}`, identity),
        })),
      ]),
    );
    this.registerOutputs({});
  }

  /** An identity's valid key pairs, the oldest first; the last is in use. */
  generationsOf(identity: Identity): readonly KeyGeneration[] {
    return this.#generations.get(identity) ?? [];
  }

  /** What the Secret `credentials-<identity>` was called while this component declared it: until 0.1. */
  formerSecret(identity: Identity): pulumi.Alias {
    return { name: `${this.#name}-${identity}`, parent: this };
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
export { credentialsSecretName, type Identity } from "../../config/names.ts";
