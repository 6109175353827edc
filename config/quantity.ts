const units = {
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
} as const;

/** Kubernetes' notation for sizes, without fractions and exponents. */
export const quantityPattern = /^([1-9]\d*)(Ki|Mi|Gi|Ti|k|M|G|T)$/;

function isUnit(text: string): text is keyof typeof units {
  return Object.hasOwn(units, text);
}

/**
 * Bytes in a size such as `10Gi`.
 *
 * @throws RangeError when the text is not a size.
 */
export function bytesOf(quantity: string): number {
  const [, amount, unit] = quantityPattern.exec(quantity) ?? [];
  if (amount === undefined || unit === undefined || !isUnit(unit))
    throw new RangeError(`${quantity} is not a size`);
  return Number(amount) * units[unit];
}

/** A number of bytes for messages, in Gi. */
export function gibibytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)}Gi`;
}
