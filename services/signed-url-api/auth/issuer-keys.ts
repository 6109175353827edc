import { createLocalJWKSet, type JWTVerifyGetKey } from "jose";

import { HttpsClient } from "../../common/https-client.ts";
import type { Logger } from "../../common/log.ts";
import type { FollowedFiles } from "../../common/mounted-files.ts";
import type { Settings } from "../settings.ts";
import { createRemoteKeys } from "./remote-keys.ts";

/** Bounds of the issuer's keys and of fetching them. */
const bounds = { maxBytes: 256 * 1024, timeoutMs: 5000 };

/** The issuer's keys, kept up to date. */
export interface IssuerKeys {
  find: JWTVerifyGetKey;
  /** Seconds since the issuer last served them; undefined when they are a file. */
  age: () => number | undefined;
  /** Ends the fetching. */
  stop: () => Promise<void>;
}

type KeySettings = Pick<Settings, "JWKS_FILE" | "JWKS_URL" | "JWKS_CA_FILE">;

/**
 * Opens the issuer's keys, from the file or the URL that the settings name.
 *
 * @param onChange - called when the keys have changed: what was verified by the previous ones is no longer valid
 * @throws when the file, or that of the authorities, is missing or not usable
 */
export const openIssuerKeys = (
  settings: KeySettings,
  files: FollowedFiles,
  log: Logger,
  onChange: () => void,
): Promise<IssuerKeys> =>
  settings.JWKS_FILE === undefined
    ? keysFromUrl(settings, files, log, onChange)
    : keysFromFile(settings.JWKS_FILE, files, onChange);

async function keysFromFile(path: string, files: FollowedFiles, onChange: () => void): Promise<IssuerKeys> {
  let keys: JWTVerifyGetKey | undefined;
  await files.follow([path], (jwks) => {
    const isFirst = keys === undefined;
    keys = createLocalJWKSet(JSON.parse(jwks.toString()));
    if (!isFirst) onChange();
  });
  return {
    find: async (header, token) => {
      if (keys === undefined) throw new Error("the issuer's keys are not read yet");
      return keys(header, token);
    },
    age: () => undefined,
    stop: () => Promise.resolve(),
  };
}

async function keysFromUrl(
  { JWKS_URL: url = "", JWKS_CA_FILE: caFile }: KeySettings,
  files: FollowedFiles,
  log: Logger,
  onChange: () => void,
): Promise<IssuerKeys> {
  const client = new HttpsClient();
  if (caFile !== undefined) await files.follow([caFile], (ca) => client.trust(ca));
  const keys = createRemoteKeys({
    fetchText: async () => {
      const { status, body } = await client.send(url, bounds);
      if (status !== 200) throw new Error(`the issuer answered ${status}`);
      if (body === undefined) throw new Error("the issuer's keys are too long");
      return body.toString();
    },
    onChange: () => {
      onChange();
      log.info("the issuer's keys have changed");
    },
    onError: (err) => log.warn({ err }, "the issuer's keys are unavailable, keeping the previous ones"),
  });
  return {
    find: keys.find,
    age: keys.age,
    stop: async () => {
      keys.stop();
      await client.close();
    },
  };
}
