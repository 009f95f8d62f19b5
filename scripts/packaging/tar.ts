import { createReadStream } from 'node:fs';
import { lstat, readFile, readlink } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { pack, type Header, type Pack } from 'tar-stream';

/** A tar whose bytes follow from its content alone: every time is the commit's, owners are numbers. */
export class ReproducibleTar {
  readonly stream: Pack = pack();
  readonly #mtime: Date;

  /** @param epoch seconds since 1970 */
  constructor(epoch: number) {
    this.#mtime = new Date(epoch * 1000);
  }

  async directory(name: string, header: Partial<Header> = {}): Promise<void> {
    await this.#entry({ name, type: 'directory', mode: 0o755, ...header }, '');
  }

  async text(name: string, content: string | Uint8Array, mode = 0o644): Promise<void> {
    await this.#entry({ name, mode }, content);
  }

  /** A file or a symbolic link of this machine. */
  async copy(name: string, from: string, mode?: number): Promise<void> {
    const stat = await lstat(from);
    if (stat.isSymbolicLink())
      return this.#entry({ name, type: 'symlink', linkname: await readlink(from), mode: 0o777 }, '');
    return this.#entry({ name, mode: mode ?? stat.mode & 0o777 }, await readFile(from));
  }

  /** A file of any size, read while it is written. */
  async large(name: string, from: string, mode: number): Promise<void> {
    const { size } = await lstat(from);
    const entry = this.stream.entry({ name, mode, size, mtime: this.#mtime, uid: 0, gid: 0 });
    await pipeline(createReadStream(from), entry);
  }

  end(): void {
    this.stream.finalize();
  }

  async #entry(header: Partial<Header> & { name: string }, content: string | Uint8Array): Promise<void> {
    const whole = { uid: 0, gid: 0, mtime: this.#mtime, ...header };
    await new Promise<void>((resolve, reject) => {
      this.stream.entry(whole, Buffer.from(content as Uint8Array), (error) => {
        if (error instanceof Error) reject(error);
        else resolve();
      });
    });
  }
}
