import { argon2Sync, createCipheriv, createDecipheriv, pbkdf2Sync, randomBytes } from "node:crypto";

/** Bytes of plain text in one sealed piece (sio-go 0.3.1, BufSize). */
const pieceBytes = 16 * 1024;
const tagBytes = 16;
const saltBytes = 32;
const nonceBytes = 8;

/** Numbers of the ciphers in the seal: AES with an Argon2id key, ChaCha20 with one, AES with a PBKDF2 key. */
const chaCha20 = 1;
const aesByPbkdf2 = 2;

/**
 * Opens what MinIO's admin API seals with the asker's secret key, lists of users for one: salt, cipher's number,
 * nonce, then pieces that are each authenticated with their number and whether they are the last.
 *
 * Source of the format: madmin-go v3.0.109 encrypt.go, secure-io/sio-go 0.3.1.
 *
 * @throws Error when it was not sealed with this secret, or was altered or cut.
 */
export function openSealed(secretKey: string, sealed: Buffer): Buffer {
  const salt = sealed.subarray(0, saltBytes);
  const id = sealed[saltBytes];
  const nonce = sealed.subarray(saltBytes + 1, saltBytes + 1 + nonceBytes);
  if (id === undefined || id > aesByPbkdf2 || nonce.length < nonceBytes) {
    throw new Error("MinIO's answer is not sealed as expected");
  }
  const key =
    id === aesByPbkdf2
      ? pbkdf2Sync(secretKey, salt, 8192, 32, "sha256")
      : argon2Sync("argon2id", {
          message: secretKey,
          nonce: salt,
          parallelism: 4,
          tagLength: 32,
          memory: 64 * 1024,
          passes: 1,
        });

  const nonceOf = (sequence: number): Buffer => {
    const counter = Buffer.alloc(4);
    counter.writeUInt32LE(sequence);
    return Buffer.concat([nonce, counter]);
  };
  const options = { authTagLength: tagBytes } as const;
  const seal = (sequence: number) =>
    id === chaCha20
      ? createCipheriv("chacha20-poly1305", key, nonceOf(sequence), options)
      : createCipheriv("aes-256-gcm", key, nonceOf(sequence), options);
  const open = (sequence: number) =>
    id === chaCha20
      ? createDecipheriv("chacha20-poly1305", key, nonceOf(sequence), options)
      : createDecipheriv("aes-256-gcm", key, nonceOf(sequence), options);

  const empty = seal(0);
  empty.final();
  const associated = empty.getAuthTag();

  const body = sealed.subarray(saltBytes + 1 + nonceBytes);
  const plain: Buffer[] = [];
  for (let start = 0, sequence = 1; start < body.length || sequence === 1; sequence += 1) {
    const end = Math.min(start + pieceBytes + tagBytes, body.length);
    const decipher = open(sequence);
    const isLast = end === body.length;
    decipher.setAAD(Buffer.concat([Buffer.from([isLast ? 0x80 : 0]), associated]), {
      plaintextLength: Math.max(0, end - start - tagBytes),
    });
    decipher.setAuthTag(body.subarray(end - tagBytes, end));
    plain.push(decipher.update(body.subarray(start, end - tagBytes)), decipher.final());
    start = end;
  }
  return Buffer.concat(plain);
}

/** Seals a request for MinIO's admin API as its own clients do (madmin-go v3.0.109, EncryptData, AES-256-GCM). */
export function seal(secretKey: string, plain: Buffer): Buffer {
  const salt = randomBytes(32);
  const nonce = randomBytes(8);
  const key = argon2Sync("argon2id", {
    message: secretKey,
    nonce: salt,
    parallelism: 4,
    tagLength: 32,
    memory: 64 * 1024,
    passes: 1,
  });
  const cipherAt = (sequence: number) => {
    const counter = Buffer.alloc(4);
    counter.writeUInt32LE(sequence);
    return createCipheriv("aes-256-gcm", key, Buffer.concat([nonce, counter]));
  };
  const empty = cipherAt(0);
  empty.final();
  const associated = empty.getAuthTag();

  const pieces = Array.from({ length: Math.max(1, Math.ceil(plain.length / pieceBytes)) }, (_, index) =>
    plain.subarray(index * pieceBytes, (index + 1) * pieceBytes),
  );
  const sealed = pieces.flatMap((piece, index) => {
    const cipher = cipherAt(index + 1);
    cipher.setAAD(Buffer.concat([Buffer.from([index === pieces.length - 1 ? 0x80 : 0]), associated]));
    return [cipher.update(piece), cipher.final(), cipher.getAuthTag()];
  });
  return Buffer.concat([salt, Buffer.from([0]), nonce, ...sealed]);
}
