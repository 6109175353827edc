import { randomUUID } from "node:crypto";

import { decodeJwt } from "jose";
import { z } from "zod";

import { minioRegion, resultsBucket } from "../../../config/names.ts";
import { mintToken } from "../../jobs/token.ts";
import { createPresigner } from "../../../services/signed-url-api/signing/presign.ts";
import type { Check } from "../check.ts";
import { type Call, errorCode, type KeyPair } from "../minio.ts";
import { copyBySignedPut, forgedArchive, forgedPut } from "../replays.ts";
import type { Target } from "../target.ts";

/** One job for all runs: no identity of a protected stack may delete what it leaves. */
const job = "geocrop-verify";
const content = "geocrop verify\n";

const answerSchema = z.looseObject({ url: z.url(), expires_at: z.string() });

/** The tokens of somebody whose result it is, and of somebody else. */
async function bearers(target: Target): Promise<{ owner: string; stranger: string }> {
  if (target.tokens !== undefined) return target.tokens;
  if (target.settings.api.auth.mode !== "dev-issuer") {
    throw new Error(
      "this stack's tokens come from an issuer of yours: give two users' tokens with --owner-token-file and --stranger-token-file",
    );
  }
  const mint = (subject: string) => mintToken(target.cluster, target.namespace, subject, 120);
  const [owner, stranger] = await Promise.all([
    mint("geocrop-verify-owner"),
    mint("geocrop-verify-stranger"),
  ]);
  target.keepSecret(owner, stranger);
  return { owner, stranger };
}

/** Puts the job in place as the two identities do whose business it is. */
async function submit(target: Target, owner: string): Promise<void> {
  const minio = await target.minio();
  for (const [identity, name, body] of [
    ["job-submitter", "job.json", JSON.stringify({ job_id: job, owner })],
    ["worker", "result.tif", content],
  ] as const) {
    const { status, body: answer } = await minio.as(await target.credentials(identity), {
      method: "PUT",
      path: `/${resultsBucket}/jobs/${job}/${name}`,
      body,
    });
    if (status !== 200) throw new Error(`${identity} cannot write ${name}: ${status} ${errorCode(answer)}`);
  }
}

/** A URL as the API signs it, signed some time ago. */
async function signedAgo(target: Target, seconds: number, expiresIn: number): Promise<string> {
  const pair = await target.credentials("api-signer");
  return createPresigner(
    target.settings.downloads.publicUrl,
    minioRegion,
    () => pair,
  )({
    path: `/${resultsBucket}/jobs/${job}/result.tif`,
    expiresIn,
    now: new Date(Date.now() - seconds * 1000),
    query: { "x-geocrop-issuance": randomUUID() },
  }).url;
}

/** The time in X-Amz-Date, in milliseconds. */
function signedAt(url: URL): number {
  const [, ...parts] = /^(....)(..)(..)T(..)(..)(..)Z$/.exec(url.searchParams.get("X-Amz-Date") ?? "") ?? [];
  const [year = 0, month = 0, ...rest] = parts.map(Number);
  return Date.UTC(year, month - 1, ...rest);
}

export const downloadChecks: readonly Check[] = [
  {
    id: "downloads.flow",
    proves:
      '"API validates user has permission to access the job", "generates presigned URL with short expiration (15-60 minutes)", "User downloads directly from MinIO via the signed URL", "URL expires after the specified time"',
    how: "puts a tiny result in place; asks as its owner, as a stranger and without a token; downloads; then tries the URL changed, unsigned, expired, and signed for a week 61 minutes ago",
    remedy: "see the logs of geocrop-api and geocrop-downloads, and the fault's own words",
    async run(target) {
      const tokens = await bearers(target);
      await submit(target, decodeJwt(tokens.owner).sub ?? "");
      const [api, gateway] = await Promise.all([
        target.https("geocrop-api"),
        target.https("geocrop-downloads"),
      ]);
      const faults: string[] = [];
      const expect = (what: string, status: number, wanted: number): void => {
        if (status !== wanted) faults.push(`${what} is answered ${status}, not ${wanted}`);
      };
      const ask = (token?: string) =>
        api.request(
          "GET",
          `/api/v1/results/${job}/download`,
          token === undefined ? {} : { authorization: `Bearer ${token}` },
        );
      const download = (url: string) => {
        const { host, pathname, search } = new URL(url);
        return gateway.request("GET", pathname + search, { host });
      };

      const [owned, strange, nameless] = await Promise.all([ask(tokens.owner), ask(tokens.stranger), ask()]);
      expect("a stranger asking for the owner's result", strange.status, 404);
      expect("asking without a token", nameless.status, 401);
      expect("the owner asking for the result", owned.status, 200);
      if (owned.status !== 200) return { seen: "", faults };
      const { url, expires_at: end } = answerSchema.parse(JSON.parse(owned.body.toString("utf8")));
      const signature = new URL(url).searchParams.get("X-Amz-Signature") ?? "";
      target.keepSecret(signature);

      const life = Number(new URL(url).searchParams.get("X-Amz-Expires"));
      const ends = signedAt(new URL(url)) + life * 1000;
      const left = (ends - Date.now()) / 60_000;
      // A minute less than 15 for clocks that differ.
      if (!(left >= 14 && left <= 60 && life <= 3600))
        faults.push(`the URL lives ${left.toFixed(1)} minutes, not 15 to 60`);
      if (Date.parse(end) !== ends) faults.push("the API tells another end of the URL's life than it signed");
      if (new URL(url).origin !== target.settings.downloads.publicUrl) {
        faults.push(`the URL leads to ${new URL(url).origin}, not to downloads.publicUrl`);
      }
      const good = await download(url);
      expect("the owner's download", good.status, 200);
      if (good.status === 200 && good.body.toString("utf8") !== content)
        faults.push("the download is not the result");
      const other = signature.startsWith("0") ? "1" : "0";
      expect(
        "the URL with a changed signature",
        (await download(url.replace(signature, other + signature.slice(1)))).status,
        403,
      );
      expect("the URL without its signature", (await download(url.replace(/\?.*/s, ""))).status, 403);
      expect("an expired URL", (await download(await signedAgo(target, 1200, 900))).status, 403);
      expect(
        "a week's URL after 61 minutes",
        (await download(await signedAgo(target, 3660, 604_800))).status,
        403,
      );
      return {
        seen: `owner 200, for ${left.toFixed(0)} minutes; stranger 404, no token 401, changed, unsigned, expired and over-long URLs 403`,
        faults,
      };
    },
  },
  {
    id: "downloads.replays",
    proves:
      "an attacker's known ways into MinIO (CVE-2026-97731, -40344, -41145) are closed, whichever MinIO runs",
    how: "sends made-up signatures and unsigned copy sources: to MinIO with the signer's key, which every URL shows, and to the download gateway with the worker's, which may write",
    remedy:
      "see identities.policies: the signer must not write; run a maintained MinIO (docs/decisions/0003)",
    async run(target) {
      const [signer, worker] = await Promise.all([
        target.credentials("api-signer"),
        target.credentials("worker"),
      ]);
      const path = `/${resultsBucket}/jobs/${job}/replayed`;
      const source = `/${resultsBucket}/jobs/${job}/job.json`;
      const replays = async (pair: KeyPair, origin: string): Promise<Call[]> => [
        forgedPut(pair.accessKey, path),
        forgedArchive(pair.accessKey, path),
        await copyBySignedPut(pair, origin, path, source),
      ];
      const { publicUrl } = target.settings.downloads;
      const ways = [
        ["MinIO", await target.https("minio"), signer, `https://${target.hostOf("minio")}`],
        ["the download gateway", await target.https("geocrop-downloads"), worker, publicUrl],
      ] as const;
      // The gateway may stumble over the body before it looks at the method.
      const refusals = new Set([403, 405, 413]);
      const faults: string[] = [];
      for (const [name, https, pair, origin] of ways) {
        const { host } = new URL(origin);
        for (const { method = "PUT", path: sent, headers, body } of await replays(pair, origin)) {
          const { status } = await https.request(method, sent, { ...headers, host }, body);
          if (!refusals.has(status)) faults.push(`${name} answers ${status} to a replay of a known hole`);
        }
      }
      return { seen: "3 replays to each of MinIO and the gateway, all refused", faults };
    },
  },
];
