import { createHmac, createSecretKey, hash, type KeyObject } from "node:crypto";

/** The key pair of a storage identity. */
export interface Credentials {
  accessKey: string;
  secretKey: string;
}

/** What a URL allows: one GET (or HEAD) of one path. */
export interface SignedRequest {
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
  /** The same for HEAD: a URL is signed for one method. */
  headUrl: () => string;
  /** The first moment at which storage refuses it; exact, for signing times are whole seconds. */
  expiresAt: Date;
}

/** Signs requests for one endpoint. */
export type Presign = (request: SignedRequest) => SignedUrl;

const hmac = (key: string | Buffer, data: string): Buffer => createHmac("sha256", key).update(data).digest();

const unreserved = /^[\w.~-]*$/;

/** RFC 3986 as Signature Version 4 wants it: everything but `A-Z a-z 0-9 - . _ ~` is encoded. */
const encode = (text: string): string =>
  unreserved.test(text)
    ? text
    : encodeURIComponent(text).replaceAll(
        /[!'()*]/g,
        (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
      );

const encodePath = (path: string): string =>
  /^[\w.~/-]*$/.test(path) ? path : path.split("/").map(encode).join("/");

/** `20261124T100000Z` */
const basicTime = (time: Date): string => time.toISOString().replaceAll(/[-:]|\.\d{3}/g, "");

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
  const signingKeyOf = cacheSigningKey(region);

  return ({ path, expiresIn, now, query = {} }) => {
    const { accessKey, secretKey } = credentials();
    const time = basicTime(now);
    const day = time.slice(0, 8);
    const scope = `${day}/${region}/s3/aws4_request`;
    const signingKey = signingKeyOf(secretKey, day);
    const parameters: Readonly<Record<string, string>> = {
      "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
      "X-Amz-Credential": `${accessKey}/${scope}`,
      "X-Amz-Date": time,
      "X-Amz-Expires": String(expiresIn),
      "X-Amz-SignedHeaders": "host",
      ...query,
    };
    const canonicalQuery = Object.keys(parameters)
      .toSorted()
      .map((name) => `${encode(name)}=${encode(parameters[name] ?? "")}`)
      .join("&");
    const canonicalPath = encodePath(path);
    const urlFor = (method: string): string => {
      const request = `${method}\n${canonicalPath}\n${canonicalQuery}\nhost:${host}\n\nhost\nUNSIGNED-PAYLOAD`;
      const text = `AWS4-HMAC-SHA256\n${time}\n${scope}\n${hash("sha256", request)}`;
      const signature = createHmac("sha256", signingKey).update(text).digest("hex");
      return `${protocol}//${host}${canonicalPath}?${canonicalQuery}&X-Amz-Signature=${signature}`;
    };
    return {
      url: urlFor("GET"),
      headUrl: () => urlFor("HEAD"),
      expiresAt: new Date((Math.floor(now.getTime() / 1000) + expiresIn) * 1000),
    };
  };
}

/** Derives the key of a day, which is most of a signature's work, and keeps the latest. */
function cacheSigningKey(region: string): (secretKey: string, day: string) => KeyObject {
  let latest: { secretKey: string; day: string; signingKey: KeyObject } | undefined;
  return (secretKey, day) => {
    if (latest?.day !== day || latest.secretKey !== secretKey) {
      const regionKey = hmac(hmac(`AWS4${secretKey}`, day), region);
      const signingKey = createSecretKey(hmac(hmac(regionKey, "s3"), "aws4_request"));
      latest = { secretKey, day, signingKey };
    }
    return latest.signingKey;
  };
}
