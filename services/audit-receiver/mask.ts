/** A JSON value. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

const mask = "***";

/**
 * Names, as a header, a query parameter or a JSON key, whose value alone gives access. MinIO copies every
 * header and every query parameter of a request into its audit entry and redacts nothing.
 */
const secretHeaders = ["proxy-authorization", "authorization", "set-cookie", "cookie"];
const secretParameters = [
  "x-amz-signature",
  "x-amz-security-token",
  // Server-side encryption with the client's own key: the key itself is sent.
  "x-amz-server-side-encryption-customer-key",
  "x-amz-copy-source-server-side-encryption-customer-key",
  // STS requests carry the caller's identity token or LDAP password.
  "webidentitytoken",
  "ldappassword",
];
/** Signature Version 2, and a field of version 4's Authorization header. Too common a word to hide in any text. */
const bareSignatureName = "signature";
const credentialName = "x-amz-credential";

const secretNames = new Set([...secretHeaders, ...secretParameters, bareSignatureName]);

/** Undoes percent-encoding, however often it was applied: a client chooses the names it sends. */
function decoded(text: string): string {
  let current = text;
  for (let round = 0; round < 8; round += 1) {
    const next = current.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) =>
      String.fromCodePoint(Number.parseInt(hex, 16)),
    );
    if (next === current) break;
    current = next;
  }
  return current;
}

/** The access key names the identity and is no secret; the rest of the scope says nothing the entry does not. */
function accessKey(credential: string): string {
  return /^[\w.-]{1,128}/.exec(decoded(credential))?.[0] ?? mask;
}

/** Matches a name whether its characters are plain, percent-encoded (repeatedly too) or JSON escapes. */
function spelled(name: string): string {
  return Array.from(name, (character) => {
    const cases = new Set([character, character.toUpperCase()]);
    const codes = Array.from(cases, (one) => one.charCodeAt(0).toString(16)).join("|");
    return String.raw`(?:${character}|%(?:25)*(?:${codes})|\\u00(?:${codes}))`;
  }).join("");
}

/** `names`, what stands between a name and its value, and the value. */
function assignment(names: readonly string[], value: string): RegExp {
  const separator = String.raw`(?:\\*["'])?\s*(?:[:=]|%(?:25)*3[ad])\s*(?:\[\s*)?`;
  return new RegExp(`(${names.map(spelled).join("|")})(${separator})(${value})`, "gi");
}

const toDelimiter = String.raw`(?:(?!%(?:25)*26)[^&\s"'\\,;<>}])+`;
const quotedOrToDelimiter = String.raw`\\+"[^"\\]*|"(?:[^"\\]|\\[^])*|${toDelimiter}`;
const toLineEnd = String.raw`[^\r\n]+`;

const parameters = assignment(secretParameters, quotedOrToDelimiter);
const bareSignature = assignment([bareSignatureName], quotedOrToDelimiter);
const headers = assignment(secretHeaders, toLineEnd);
const credential = assignment([credentialName], String.raw`(?:\\*")?${toDelimiter}`);

/** Masks secret parameters (`name=value`, `"name":"value"`, however encoded) wherever they stand in a text. */
export function maskText(text: string): string {
  return text
    .replaceAll(parameters, `$1$2${mask}`)
    .replaceAll(credential, (_, name: string, separator: string, value: string) => {
      const quotes = /^\\*"/.exec(value)?.[0] ?? "";
      return name + separator + quotes + accessKey(value.slice(quotes.length));
    });
}

/**
 * {@link maskText} for text that could not be read as an event, where too much is better than too little:
 * whatever looks like a digest (a signature is 64 hex digits), a signed token or an authorisation scheme goes
 * too, since its name may be torn off.
 */
export function maskUnparsed(text: string): string {
  return maskText(text)
    .replaceAll(headers, `$1$2${mask}`)
    .replaceAll(bareSignature, `$1$2${mask}`)
    .replaceAll(/[0-9a-f]{40,}/gi, mask)
    .replaceAll(/\beyJ[\w-]{1,4096}(?:\.[\w-]*){1,4}/g, mask)
    .replaceAll(/\b(Bearer|Basic|AWS4-HMAC-SHA256|AWS)\s+[^\s",]+/gi, `$1 ${mask}`);
}

/** A copy of an audit event without its secrets: by name at any depth, and inside any string. */
export function maskEvent(value: Json, name = ""): Json {
  const plainName = decoded(name).trim().toLowerCase();
  if (secretNames.has(plainName)) return mask;
  if (typeof value === "string") return plainName === credentialName ? accessKey(value) : maskText(value);
  if (value === null || typeof value !== "object") return value;
  if (isList(value)) return value.map((item) => maskEvent(item, name));
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [maskText(key), maskEvent(item, key)]),
  );
}

function isList(value: object): value is readonly Json[] {
  return Array.isArray(value);
}
