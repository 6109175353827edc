/** A job's name as it stands in paths and object keys: 1 to 64 ASCII characters, no dot, no slash, no percent sign. */
export const JOB_ID = "[A-Za-z0-9][A-Za-z0-9_-]{0,63}";

const downloadPath = new RegExp(`^/api/v1/results/(${JOB_ID})/download$`);

/**
 * The job that a download request names, read from the request target as it came over the wire.
 *
 * The router's own parameter is percent-decoded (`..%2fx` arrives as `../x`), so it is not used: what isn't
 * literally an id here never becomes part of an object key.
 *
 * @param target - path and query, undecoded
 * @returns undefined when the path holds no valid id
 */
export function jobIdFromTarget(target: string): string | undefined {
  const [path = ""] = target.split("?", 1);
  return downloadPath.exec(path)?.[1];
}
