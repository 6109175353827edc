import { join } from "node:path";

import type { FollowedFiles } from "../../common/mounted-files.ts";
import type { Credentials } from "./presign.ts";

/**
 * The identity that signs, from the files `access-key` and `secret-key`.
 *
 * @param onRotation - called when it is another than before
 * @returns what the files hold now
 * @throws when a file is missing or empty
 */
export async function followCredentials(
  directory: string,
  files: FollowedFiles,
  onRotation: () => void,
): Promise<() => Credentials> {
  let credentials: Credentials | undefined;
  const paths = ["access-key", "secret-key"].map((name) => join(directory, name));
  await files.follow(paths, (...contents) => {
    const [accessKey = "", secretKey = ""] = contents.map((content) => content.toString().trim());
    if (accessKey === "" || secretKey === "") throw new Error("the access key or the secret key is empty");
    const isFirst = credentials === undefined;
    credentials = { accessKey, secretKey };
    if (!isFirst) onRotation();
  });
  return () => {
    if (credentials === undefined) throw new Error("the credentials are not read yet");
    return credentials;
  };
}
