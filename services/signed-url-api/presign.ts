import { createHash, createHmac } from "node:crypto";

/** The key pair of a storage identity. */
export interface Credentials {
  accessKey: string;
  secretKey: string;
}

/** What a URL shall allow: one GET of one path. */
export interface GetRequest {
  /** Absolute and unencoded, bucket included. */
  path: string;
  /** Seconds from `now`. */
  expiresIn: number;
  /** Time of signing. */
  now: Date;
  /** Further parameters, covered by the signature like the rest. */
  query?: Readonly<Record<string, string>>;
}

/** A URL that is a credential: never to be logged. */
export interface SignedUrl {
  url: string;
  /** The first moment at which storage refuses it; exact, for signing times are whole seconds. */
  expiresAt: Date;
}

/** Signs GETs for one endpoint. */
export type Presign = (request: GetRequest) => SignedUrl;

const hmac = (key: string | Buffer, data: string): Buffer => createHmac("sha256", key).update(data).digest();

/** RFC 3986 as Signature Version 4 wants it: everything but `A-Z a-z 0-9 - . _ ~` is encoded. */
const encode = (text: string): string =>
  encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );

/**
 * A signer for AWS Signature Version 4 in the query string, without any network call.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
 *
 * The only signed header is `host`, with its port unless that is the scheme's own: the URL holds for exactly
 * the address the user is to call, which need not be the one this process talks to.
 *
 * @param origin - scheme, host and port that will be called
 * @param region - the storage's fixed region
 * @param credentials - asked at each signing, so that a rotated key is used at once
 */
export function createPresigner(origin: string, region: string, credentials: () => Credentials): Presign {
  const { protocol, host } = new URL(origin);
  // The key is the same for a whole day; deriving it is four of the five HMACs of a signature.
  let derived: { from: string; key: Buffer } | undefined;
  const signingKey = (secretKey: string, day: string): Buffer => {
    const from = `${day} ${secretKey}`;
    if (derived?.from !== from) {
      const ofDay = hmac(`AWS4${secretKey}`, day);
      derived = { from, key: hmac(hmac(hmac(ofDay, region), "s3"), "aws4_request") };
    }
    return derived.key;
  };

  return ({ path, expiresIn, now, query = {} }) => {
    const { accessKey, secretKey } = credentials();
    const time = now.toISOString().replace(/[-:]|\.\d{3}/g, "");
    const day = time.slice(0, 8);
    const scope = `${day}/${region}/s3/aws4_request`;
    const parameters = {
      ...query,
      "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
      "X-Amz-Credential": `${accessKey}/${scope}`,
      "X-Amz-Date": time,
      "X-Amz-Expires": String(expiresIn),
      "X-Amz-SignedHeaders": "host",
    };
    const canonicalPath = path.split("/").map(encode).join("/");
    const canonicalQuery = Object.entries(parameters)
      .map(([name, value]) => [encode(name), encode(value)] as const)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map((pair) => pair.join("="))
      .join("&");
    const canonicalRequest = `GET\n${canonicalPath}\n${canonicalQuery}\nhost:${host}\n\nhost\nUNSIGNED-PAYLOAD`;
    const digest = createHash("sha256").update(canonicalRequest).digest("hex");
    const signature = hmac(
      signingKey(secretKey, day),
      `AWS4-HMAC-SHA256\n${time}\n${scope}\n${digest}`,
    ).toString("hex");
    return {
      url: `${protocol}//${host}${canonicalPath}?${canonicalQuery}&X-Amz-Signature=${signature}`,
      expiresAt: new Date((Math.floor(now.getTime() / 1000) + expiresIn) * 1000),
    };
  };
}
