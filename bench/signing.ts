import { createHash, createHmac } from "node:crypto";

import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { AwsClient } from "aws4fetch";
import { Client } from "minio";

import { createPresigner } from "../services/signed-url-api/signing/presign.ts";

/**
 * URLs signed in a second by one thread, each for another object: ours, and what one would take otherwise, beside the
 * least that any signer must compute: one SHA-256 and one HMAC-SHA256 of a request's text, the day's key at hand.
 *
 * npx node bench/signing.ts [rounds]
 */
const accessKeyId = "api-signer-1";
const secretAccessKey = "a-secret-of-forty-characters-for-a-bench";
const origin = "https://downloads.test:30444";
const now = new Date();
const query = {
  "response-content-disposition": 'attachment; filename="job-123.tif"',
  "x-geocrop-issuance": "Vi5_oKskO2FxksXid2F5Pp",
  "x-geocrop-subject": "QuBXXxNfJdROpyQuAVdjjp",
};
const path = (n: number): string => `/geocrop-results/jobs/job-${n}/result.tif`;

const ours = createPresigner(origin, "us-east-1", () => ({
  accessKey: accessKeyId,
  secretKey: secretAccessKey,
}));
const key = createHash("sha256").update("the day's key").digest();
/** A real request's text, but for the number in it. */
const text = `GET\n${path(1)}\n${new URL(ours({ path: path(1), expiresIn: 1200, now, query }).url).search}\nhost:x\n\nhost\nUNSIGNED-PAYLOAD`;
const minio = new Client({
  endPoint: "downloads.test",
  port: 30444,
  useSSL: true,
  region: "us-east-1",
  accessKey: accessKeyId,
  secretKey: secretAccessKey,
});
const aws = new S3Client({
  region: "us-east-1",
  endpoint: origin,
  forcePathStyle: true,
  credentials: { accessKeyId, secretAccessKey },
});
const small = new AwsClient({ accessKeyId, secretAccessKey, service: "s3", region: "us-east-1" });
const further = new URLSearchParams(query).toString();

const signers: Record<string, (n: number) => unknown> = {
  "one SHA-256 and one HMAC-SHA256": (n) => {
    const digest = createHash("sha256")
      .update(text + n)
      .digest("hex");
    return createHmac("sha256", key)
      .update(`AWS4-HMAC-SHA256\n20261124T000000Z\n20261124/us-east-1/s3/aws4_request\n${digest}`)
      .digest("hex");
  },
  ours: (n) => ours({ path: path(n), expiresIn: 1200, now, query }).url,
  "minio-js presignedGetObject": (n) =>
    minio.presignedGetObject("geocrop-results", `jobs/job-${n}/result.tif`, 1200, query, now),
  aws4fetch: (n) =>
    small.sign(`${origin}${path(n)}?X-Amz-Expires=1200&${further}`, { aws: { signQuery: true } }),
  "@aws-sdk/s3-request-presigner": (n) =>
    getSignedUrl(
      aws,
      new GetObjectCommand({
        Bucket: "geocrop-results",
        Key: `jobs/job-${n}/result.tif`,
        ResponseContentDisposition: query["response-content-disposition"],
      }),
      { expiresIn: 1200 },
    ),
};

/** By the processor's clock, not the wall's: other work on the machine then takes nothing away. */
async function perSecond(sign: (n: number) => unknown): Promise<number> {
  const end = performance.now() + 1000;
  const before = process.cpuUsage();
  let count = 0;
  while (performance.now() < end) {
    for (let turn = 0; turn < 50; turn += 1) {
      const signed = sign((count += 1));
      if (signed instanceof Promise) await signed;
    }
  }
  const { user, system } = process.cpuUsage(before);
  return count / ((user + system) / 1e6);
}

const rounds = Number(process.argv[2] ?? 5);
const results = Object.fromEntries(Object.keys(signers).map((name): [string, number[]] => [name, []]));
for (let round = 0; round <= rounds; round += 1) {
  for (const [name, sign] of Object.entries(signers)) {
    const rate = await perSecond(sign);
    // The first round warms up.
    if (round > 0) results[name]?.push(rate);
  }
}
const median = (values: number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
const floor = median(results["one SHA-256 and one HMAC-SHA256"] ?? []);
for (const [name, rates] of Object.entries(results)) {
  const rate = median(rates);
  process.stdout.write(
    `${name.padEnd(34)} ${Math.round(rate).toLocaleString("en").padStart(9)}/s  ${(floor / rate).toFixed(2)} times the floor's time\n`,
  );
}
