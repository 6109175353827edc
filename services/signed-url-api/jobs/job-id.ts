/** A job's name as it stands in paths and object keys: 1 to 64 ASCII characters, no dot, no slash, no percent sign. */
export const jobIdPattern = "[A-Za-z0-9][A-Za-z0-9_-]{0,63}";

const wholeId = new RegExp(`^${jobIdPattern}$`);
const downloadPath = new RegExp(`^/api/v1/results/${jobIdPattern}/(?:download|result\\.tif)$`);

/** Whether a text is a job id. */
export const isJobId = (text: string): boolean => wholeId.test(text);

/**
 * Whether a request target, as it came over the wire, literally holds a job id where one belongs.
 *
 * The router's own parameter is percent-decoded (`..%2fx` arrives as `../x`): what isn't literally an id here
 * never becomes part of an object key.
 *
 * @param target - path and query, undecoded
 */
export function isDownloadTarget(target: string): boolean {
  const query = target.indexOf("?");
  return downloadPath.test(query === -1 ? target : target.slice(0, query));
}
