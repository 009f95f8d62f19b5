import fs, { type FileHandle } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { dirname, relative, sep } from 'node:path';
import type { Scope } from './processes.ts';

/** One change to a file system. Paths are relative to the directory that is watched. */
export type FileChange =
  | { readonly kind: 'link'; readonly path: string; readonly node: Node }
  | { readonly kind: 'rename'; readonly from: string; readonly path: string; readonly node: Node }
  | { readonly kind: 'unlink'; readonly path: string }
  | { readonly kind: 'write'; readonly file: number; readonly at: number; readonly bytes: Buffer }
  | { readonly kind: 'truncate'; readonly file: number; readonly size: number };

/** What a name leads to: a file by its number, a directory, or a symbolic link. */
export type Node = number | 'directory' | { readonly target: string };

/** A change, and when it became durable. */
export interface RecordedChange {
  readonly change: FileChange;
  /** When an fsync that covers it came back there had been so many changes; Infinity: none ever did. */
  durableFrom: number;
}

/**
 * Records what this process does below a directory: writes, renames, unlinks, and what fsync and fdatasync made
 * durable. It sits in node:fs/promises itself, so the code under test has no seam for it.
 */
export class FileRecorder {
  readonly changes: RecordedChange[] = [];
  readonly #root: string;
  readonly #nodes = new Map<string, Node>();
  readonly #sizes = new Map<number, number>();
  readonly #underWay = new Set<RecordedChange>();

  private constructor(root: string) {
    this.#root = root;
  }

  /** Until the scope ends. What is in the directory already counts as durable, and is `base`. */
  static async start(
    scope: Scope,
    root: string,
  ): Promise<{ recorder: FileRecorder; base: RecordedChange[] }> {
    const recorder = new FileRecorder(root);
    await recorder.#readBase();
    const base = recorder.changes.splice(0);
    const real = { ...fs };
    scope.after(() => {
      Object.assign(fs, real);
      syncBuiltinESMExports();
    });
    recorder.#install(real);
    syncBuiltinESMExports();
    return { recorder, base };
  }

  async #readBase(): Promise<void> {
    for (const entry of await fs.readdir(this.#root, { recursive: true, withFileTypes: true })) {
      const path = `${entry.parentPath}/${entry.name}`;
      if (entry.isDirectory()) this.#link(path, 'directory');
      else this.#write(this.#newFile(path), 0, await fs.readFile(path));
    }
    for (const each of this.changes) each.durableFrom = 0;
    this.#underWay.clear();
  }

  #install(real: typeof fs): void {
    const record = <Args extends readonly unknown[], Result>(
      call: (...args: Args) => Promise<Result>,
      note: (...args: Args) => void,
    ) => {
      return async (...args: Args): Promise<Result> => {
        const result = await call(...args);
        note(...args);
        return result;
      };
    };
    Object.assign(fs, {
      mkdir: record(real.mkdir, (path) => this.#link(String(path), 'directory')),
      symlink: record(real.symlink, (target, path) => this.#link(String(path), { target: String(target) })),
      rename: record(real.rename, (from, to) => this.#rename(String(from), String(to))),
      rm: record(real.rm, (path) => this.#unlink(String(path))),
      open: async (path: string, flags = 'r', mode?: number) => {
        const handle = await real.open(path, flags, mode);
        return this.#isOurs(path) ? this.#watch(handle, path, flags) : handle;
      },
    });
  }

  /** Only the methods that change files or make changes durable. */
  #watch(handle: FileHandle, path: string, flags: string): FileHandle {
    const known = this.#nodes.get(this.#name(path));
    const file = known ?? this.#newFile(path);
    const real = {
      sync: handle.sync.bind(handle),
      datasync: handle.datasync.bind(handle),
      write: handle.write.bind(handle) as (...args: unknown[]) => Promise<never>,
      appendFile: handle.appendFile.bind(handle),
      writeFile: handle.writeFile.bind(handle),
      truncate: handle.truncate.bind(handle),
    };
    handle.sync = () => this.#sync(file, path, real.sync);
    handle.datasync = () => this.#sync(file, path, real.datasync);
    if (typeof file !== 'number' || flags === 'r') return handle;
    handle.write = ((bytes: Buffer, from: number, length: number, position: number) =>
      this.#during(this.#write(file, position, bytes.subarray(from, from + length)), () =>
        real.write(bytes, from, length, position),
      )) as unknown as typeof handle.write;
    handle.appendFile = (text) =>
      this.#during(this.#write(file, this.#sizes.get(file) ?? 0, Buffer.from(text as string)), () =>
        real.appendFile(text),
      );
    handle.writeFile = (bytes) =>
      this.#during(this.#write(file, 0, Buffer.from(bytes as Uint8Array)), () => real.writeFile(bytes));
    handle.truncate = (size = 0) => {
      this.#sizes.set(file, size);
      return this.#during(this.#push({ kind: 'truncate', file, size }), () => real.truncate(size));
    };
    return handle;
  }

  /** What was complete before an fsync began is durable once it has come back. */
  async #sync(node: Node, path: string, call: () => Promise<void>): Promise<void> {
    const name = this.#name(path);
    const covered = this.changes.filter(
      (each) => !this.#underWay.has(each) && each.durableFrom === Infinity && covers(node, name, each.change),
    );
    await call();
    for (const each of covered) each.durableFrom = this.changes.length;
  }

  async #during<Result>(change: RecordedChange, call: () => Promise<Result>): Promise<Result> {
    this.#underWay.add(change);
    const result = await call();
    this.#underWay.delete(change);
    return result;
  }

  #newFile(path: string): number {
    const file = this.#sizes.size;
    this.#sizes.set(file, 0);
    this.#link(path, file);
    return file;
  }

  #link(path: string, node: Node): void {
    if (!this.#isOurs(path)) return;
    this.#nodes.set(this.#name(path), node);
    this.#push({ kind: 'link', path: this.#name(path), node });
  }

  #rename(fromPath: string, toPath: string): void {
    const [from, path] = [this.#name(fromPath), this.#name(toPath)];
    const node = this.#nodes.get(from);
    if (node === undefined) return;
    this.#nodes.delete(from);
    this.#nodes.set(path, node);
    this.#push({ kind: 'rename', from, path, node });
  }

  #unlink(path: string): void {
    if (this.#nodes.delete(this.#name(path))) this.#push({ kind: 'unlink', path: this.#name(path) });
  }

  /** A copy: whoever writes may use the buffer again. */
  #write(file: number, at: number, bytes: Uint8Array): RecordedChange {
    this.#sizes.set(file, Math.max(this.#sizes.get(file) ?? 0, at + bytes.length));
    return this.#push({ kind: 'write', file, at, bytes: Buffer.from(bytes) });
  }

  #push(change: FileChange): RecordedChange {
    const recorded = { change, durableFrom: Infinity };
    this.changes.push(recorded);
    return recorded;
  }

  #isOurs(path: string): boolean {
    return path.startsWith(this.#root + sep);
  }

  #name(path: string): string {
    return relative(this.#root, path);
  }
}

/** fsync of a file: its content. fsync of a directory: the names in it. */
function covers(node: Node, name: string, change: FileChange): boolean {
  if (change.kind === 'write' || change.kind === 'truncate') return change.file === node;
  return node === 'directory' && dirname(change.path) === name;
}
