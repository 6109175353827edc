/**
 * Whether a client takes JSON, by its Accept header (RFC 9110, section 12.5.1): the most specific range that
 * covers `application/json` decides. No header takes anything.
 */
export function acceptsJson(accept: string | undefined): boolean {
  if (accept === undefined || accept.trim() === "") return true;
  const quality = new Map(
    accept.split(",").map((range) => {
      const [type = "", ...parameters] = range.split(";").map((part) => part.trim().toLowerCase());
      const weight = parameters.find((parameter) => parameter.startsWith("q="))?.slice(2) ?? "1";
      return [type, Number(weight)] as const;
    }),
  );
  const decides = ["application/json", "application/*", "*/*"].find((range) => quality.has(range));
  return decides !== undefined && quality.get(decides) !== 0;
}
