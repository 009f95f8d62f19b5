import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { QuayctlError } from '../../base/errors.ts';
import { digestHex, type Digest } from '../../image/digest.ts';
import { decodeBencode, encodeBencode, isDictionary } from '../../metainfo/bencode.ts';
import { pieceGeometry } from '../../metainfo/geometry.ts';
import { PIECE_HASH_LENGTH } from '../../metainfo/geometry.ts';
import { writePrivateFile } from './private-file.ts';

/** What one pass over a blob yields: everything of a torrent that is no secret. */
export interface PieceHashes {
  readonly digest: Digest;
  /** Bytes of the blob, > 0. */
  readonly length: number;
  readonly pieces: Uint8Array;
  /** When they were made, seconds since 1970. */
  readonly made: number;
}

/** SHA-256 of the rest of the file, in front: a torn or rotten file is told from a good one. */
const CHECKSUM_BYTES = 32;
/** 12 TiB in pieces of 16 MiB. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;

/** Piece hashes on disk, one file for each blob: `hashes/sha256/<hex>`. What is not whole counts as absent. */
export class HashStore {
  readonly #directory: string;

  constructor(dataDirectory: string) {
    this.#directory = join(dataDirectory, 'hashes', 'sha256');
  }

  /** Undefined where there are none, or none that can be read and believed: they are made again, and saved. */
  async load(digest: Digest): Promise<PieceHashes | undefined> {
    try {
      const path = this.#path(digest);
      if ((await stat(path)).size > MAX_FILE_BYTES) return undefined;
      return parsePieceHashes(digest, await readFile(path));
    } catch {
      return undefined;
    }
  }

  /** @throws QuayctlError `store` */
  async save(hashes: PieceHashes): Promise<void> {
    try {
      await writePrivateFile(this.#path(hashes.digest), format(hashes));
    } catch (error) {
      throw new QuayctlError('store', `the piece hashes of ${hashes.digest} cannot be kept`, {
        cause: error,
      });
    }
  }

  #path(digest: Digest): string {
    return join(this.#directory, digestHex(digest));
  }
}

function format({ digest, length, pieces, made }: PieceHashes): Uint8Array {
  const content = encodeBencode({ digest, length, made, pieces, version: 1 });
  return Buffer.concat([checksum(content), content]);
}

/** Undefined for what is no such file, or of another blob. @throws QuayctlError `protocol`, `limit` */
export function parsePieceHashes(digest: Digest, bytes: Uint8Array): PieceHashes | undefined {
  const content = bytes.subarray(CHECKSUM_BYTES);
  if (!checksum(content).equals(bytes.subarray(0, CHECKSUM_BYTES))) return undefined;
  const decoded = decodeBencode(content);
  if (!isDictionary(decoded)) return undefined;
  const field = (name: string): unknown => decoded.entries.get(name);
  const [named, length, made, pieces] = [field('digest'), field('length'), field('made'), field('pieces')];
  if (!(named instanceof Uint8Array) || Buffer.from(named).toString('latin1') !== digest) return undefined;
  if (typeof length !== 'number' || typeof made !== 'number' || field('version') !== 1) return undefined;
  if (!(pieces instanceof Uint8Array)) return undefined;
  if (pieces.length !== pieceGeometry(length).pieceCount * PIECE_HASH_LENGTH) return undefined;
  return { digest, length, pieces, made };
}

function checksum(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}
