/**
 * @peculiar/x509 registers its algorithms with tsyringe, which will not load without the metadata half of the
 * (never finished) Reflect proposal. Nothing here uses decorators, so storing by target and key is all it takes.
 * To be imported before @peculiar/x509.
 */
const store = new WeakMap<object, Map<unknown, unknown>>();

function read(key: unknown, target: object): unknown {
  return store.get(target)?.get(key);
}

function write(key: unknown, value: unknown, target: object): void {
  const metadata = store.get(target) ?? new Map<unknown, unknown>();
  store.set(target, metadata.set(key, value));
}

if (!("getMetadata" in Reflect)) {
  Object.assign(Reflect, { getMetadata: read, getOwnMetadata: read, defineMetadata: write });
}
