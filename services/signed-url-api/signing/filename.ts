const MAX_CHARACTERS = 100;

/**
 * What users' systems don't take in a file's name, or take for something else: controls and invisible characters
 * (text direction among them), path separators, and what Windows reserves.
 */
const unsafe = /[\p{C}\p{Zl}\p{Zp}/\\:*?"<>|%]/gu;

/**
 * A name that a browser can store a file under, made of what a user wrote.
 *
 * @param fallback - taken when nothing is left
 */
export function safeFilename(wanted: string, fallback: string): string {
  const name = Array.from(wanted.normalize("NFC").replaceAll(unsafe, "_"))
    .slice(0, MAX_CHARACTERS)
    .join("")
    .replaceAll(/^[\s.]+|[\s.]+$/g, "");
  return /[^_]/.test(name) ? name : fallback;
}

/**
 * Content-Disposition of RFC 6266: plain ASCII for old clients, and the whole name as RFC 8187 spells it.
 *
 * @param name - from `safeFilename`, so without quotes, backslashes and controls
 */
export function attachment(name: string): string {
  const ascii = name.replaceAll(/[^ -~]/g, "_");
  const plain = `attachment; filename="${ascii}"`;
  return ascii === name ? plain : `${plain}; filename*=UTF-8''${encodeExtended(name)}`;
}

const encodeExtended = (name: string): string =>
  encodeURIComponent(name).replaceAll(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
