import { AwsV4Signer } from "aws4fetch";

import { minioRegion } from "../../config/names.ts";
import type { Answer, PodHttps } from "../kube/forward.ts";
import { openSealed } from "./madmin.ts";

export interface KeyPair {
  readonly accessKey: string;
  readonly secretKey: string;
}

export interface Call {
  /** @default GET */
  readonly method?: string;
  /** Path and query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

/** MinIO over one way in, asked by whoever is named. */
export class Minio {
  readonly #https: PodHttps;
  readonly #host: string;

  constructor(https: PodHttps, host: string) {
    this.#https = https;
    this.#host = host;
  }

  /** Without any key. */
  anonymous({ method = "GET", path, headers = {}, body = "" }: Call): Promise<Answer> {
    return this.#https.request(method, path, headers, body);
  }

  /** Signed in the header, the digest of the body included. */
  async as(
    { accessKey, secretKey }: KeyPair,
    { method = "GET", path, headers = {}, body = "" }: Call,
  ): Promise<Answer> {
    const signer = new AwsV4Signer({
      method,
      url: `https://${this.#host}${path}`,
      headers: { ...headers, "x-amz-content-sha256": await sha256(body) },

      accessKeyId: accessKey,
      secretAccessKey: secretKey,
      service: "s3",
      region: minioRegion,
    });
    const signed = await signer.sign();
    return this.#https.request(
      method,
      path,
      { ...Object.fromEntries(signed.headers), host: this.#host },
      body,
    );
  }

  /** JSON of an admin call. @throws Error with MinIO's own code when it refuses. */
  async admin(pair: KeyPair, path: string): Promise<unknown> {
    return JSON.parse((await this.#adminAnswer(pair, path)).toString("utf8"));
  }

  /** JSON of an admin call whose answer MinIO seals with the asker's secret key. */
  async sealedAdmin(pair: KeyPair, path: string): Promise<unknown> {
    return JSON.parse(openSealed(pair.secretKey, await this.#adminAnswer(pair, path)).toString("utf8"));
  }

  async #adminAnswer(pair: KeyPair, path: string): Promise<Buffer> {
    const { status, body } = await this.as(pair, { path: `/minio/admin/v3/${path}` });
    if (status === 200) return body;
    throw new Error(`MinIO answers ${status} ${errorCode(body)} to ${path.replace(/\?.*/, "")}`);
  }
}

/** The code in an error of S3's or of the admin API's. */
export function errorCode(body: Buffer): string {
  return (
    /<Code>(\w+)<|"Code":"(\w+)"/.exec(body.toString("utf8"))?.slice(1).find(Boolean) ?? "without a code"
  );
}

async function sha256(content: string | Buffer): Promise<string> {
  return Buffer.from(await crypto.subtle.digest("SHA-256", Buffer.from(content))).toString("hex");
}
