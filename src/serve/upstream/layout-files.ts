import { createHash } from 'node:crypto';
import { constants, open, realpath, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { QuayctlError } from '../../base/errors.ts';
import { digestFromHex, type Digest } from '../../image/digest.ts';

/** One read of a file: large enough that hashing is not kept waiting by system calls. */
const READ_BYTES = 1024 * 1024;
/** Versions of files whose content is known to be right; some 200 bytes each. */
const MAX_VERIFIED = 20_000;

/**
 * The files of an OCI image layout, which somebody else may have made: none is reached through a symbolic link below the
 * layout's own directory, and none is believed to have the content that its name says.
 */
export class LayoutFiles {
  readonly #directory: string;
  /** Digest by the version of a file. */
  readonly #verified = new Map<string, Digest>();
  /** By the same version: all who ask meanwhile wait for one reading. */
  readonly #hashing = new Map<string, Promise<Digest>>();

  /** @param directory may itself be a link: the operator named it */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /**
   * @param path in the layout
   * @throws an error of the file system; ELOOP where the path leads through a link
   */
  async open(path: string): Promise<FileHandle> {
    const place = join(this.#directory, path);
    const real = await realpath(dirname(place));
    if (real !== dirname(join(await realpath(this.#directory), path))) {
      throw Object.assign(new Error(`${dirname(path)} is a symbolic link`), { code: 'ELOOP' });
    }
    // Non-blocking, or a FIFO of that name would hold the thread that opens it for ever.
    const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
    const handle = await open(place, flags);
    if ((await handle.stat()).isFile()) return handle;
    await handle.close();
    throw Object.assign(new Error(`${path} is no file`), { code: 'ENOENT' });
  }

  /** @throws QuayctlError `limit`; an error of the file system */
  async read(path: string, maxBytes: number): Promise<Buffer> {
    const handle = await this.open(path);
    try {
      const { size } = await handle.stat();
      if (size > maxBytes) throw new QuayctlError('limit', `${path} has more than ${maxBytes} bytes`);
      return await handle.readFile();
    } finally {
      await handle.close();
    }
  }

  /** @returns the size of an open file whose content is of that digest; undefined for another content */
  async verify(handle: FileHandle, digest: Digest): Promise<number | undefined> {
    const { dev, ino, size, mtimeMs, ctimeMs } = await handle.stat();
    const version = `${dev} ${ino} ${size} ${mtimeMs} ${ctimeMs}`;
    const found = this.#verified.get(version) ?? (await this.#hash(handle, version));
    return found === digest ? size : undefined;
  }

  #hash(handle: FileHandle, version: string): Promise<Digest> {
    const running = this.#hashing.get(version);
    if (running !== undefined) return running;
    const hashing = hash(handle)
      .then((digest) => {
        this.#remember(version, digest);
        return digest;
      })
      .finally(() => this.#hashing.delete(version));
    this.#hashing.set(version, hashing);
    return hashing;
  }

  #remember(version: string, digest: Digest): void {
    const [oldest] = this.#verified.keys();
    if (this.#verified.size >= MAX_VERIFIED && oldest !== undefined) this.#verified.delete(oldest);
    this.#verified.set(version, digest);
  }
}

/** The digest of the whole file, whatever part of it was asked for. */
async function hash(handle: FileHandle): Promise<Digest> {
  const sum = createHash('sha256');
  const buffer = Buffer.allocUnsafe(READ_BYTES);
  for (let at = 0; ;) {
    const { bytesRead } = await handle.read(buffer, 0, READ_BYTES, at);
    if (bytesRead === 0) return digestFromHex(sum.digest('hex'));
    sum.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
}
