import { argon2Sync, createCipheriv, randomBytes } from "node:crypto";

const pieceBytes = 16 * 1024;

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
