import {
  bytesOf,
  fileEntry,
  NO_CONTENT,
  PLAIN_DIRECTORY,
  type Entry,
  type TarEntry,
} from '../../src/tar/entry.ts';
import { Random } from '../helpers/fuzz.ts';

/** Names short and long, in UTF-8, latin1 and no encoding at all; few, so that layers meet. */
const NAMES = [
  'a',
  'b',
  'c',
  'd',
  'etc',
  'lib',
  'x y',
  '.hidden',
  'wh',
  '\xc3\xa9t\xc3\xa9',
  '\xff\xfe',
  'n\nl',
  'l'.repeat(120),
];
/** vfs_cap_data, revision 2: cap_net_raw, effective and permitted. */
const CAPABILITY = Buffer.from('0100000200200000000000000000000000000000', 'hex');
const OWNERS = [0, 0, 1, 1000, 65_534, 300_000, 4_000_000_000];
const MODES = [0o755, 0o644, 0o600, 0o4755, 0o2775, 0o1777, 0o000];
const SECONDS = [0n, 1n, 1_084_839_148n, 1_700_000_000n, 4_102_444_800n];

/** What a stack shows so far: paths, and which are directories. */
type Shown = Map<string, 'directory' | 'file' | 'other'>;

/**
 * Layers such as image builders make, at random: each says every parent directory of what it changes, hides only
 * what is below, and says a path once: Docker takes no path twice. Some name what they say through a symbolic link that
 * they have made to one of their directories, and write targets of hard links as absolute paths, as kaniko does.
 * @param top the directory in which all of it lies, so that many stacks fit into one image
 */
export function randomStack(seed: number, top: string): TarEntry[][] {
  const random = new Random(seed);
  const shown: Shown = new Map([[top, 'directory']]);
  return Array.from({ length: 2 + random.below(4) }, () => new RandomLayer(random, shown, top).make());
}

class RandomLayer {
  readonly #random: Random;
  readonly #shown: Shown;
  readonly #below: ReadonlyMap<string, string>;
  readonly #top: string;
  readonly #entries: TarEntry[] = [];
  /** Said in this layer; what has been said is not hidden in the same one. */
  readonly #said = new Set<string>();
  readonly #files: string[] = [];
  /** Symbolic links of this layer to directories of this layer. */
  readonly #aliases: { readonly link: string; readonly directory: string }[] = [];

  constructor(random: Random, shown: Shown, top: string) {
    this.#random = random;
    this.#shown = shown;
    this.#below = new Map(shown);
    this.#top = top;
  }

  make(): TarEntry[] {
    this.#directory(this.#top);
    for (let count = 4 + this.#random.below(14); count > 0; count--) this.#change();
    return this.#entries;
  }

  #change(): void {
    const parent = this.#parent();
    const path = `${parent}/${this.#random.pick(NAMES)}`;
    const what = this.#random.below(100);
    if (what < 18) this.#hide();
    else if (what < 24) this.#opaque();
    else if (this.#said.has(path) || isUnder(path, this.#said, this.#shown)) return;
    else if (what < 45) this.#directory(path);
    else if (what < 70) this.#file(path);
    else if (what < 80) this.#link(path);
    else if (what < 85) this.#alias(path);
    else if (what < 90)
      this.#put(path, {
        type: 'symlink',
        linkPath: this.#random.pick(['a', '../b', '/etc/x', '\xff', 't'.repeat(180)]),
      });
    else if (what < 95) this.#put(path, { type: 'fifo' });
    else this.#put(path, { type: 'char-device', device: { major: 1, minor: 3 + this.#random.below(4) } });
  }

  #parent(): string {
    const directories = [...this.#shown].filter(([, kind]) => kind === 'directory').map(([path]) => path);
    const path = this.#random.pick(directories);
    for (const above of parentsOf(path, this.#top)) this.#directory(above);
    this.#directory(path);
    return path;
  }

  #directory(path: string): void {
    if (this.#said.has(path)) return;
    this.#replace(path, 'directory');
    this.#say({ ...this.#metadata(), type: 'directory', path });
  }

  #file(path: string): void {
    this.#replace(path, 'file');
    const content = bytesOf(`${path} ${this.#random.below(1_000_000)}`.repeat(this.#random.below(40)));
    const { content: chunks } = fileEntry(path, content);
    this.#say({ ...this.#metadata(), type: 'file', path, size: content.length }, chunks);
    this.#files.push(path);
  }

  /** To a file of this layer, with what extracting a link sets. */
  #link(path: string): void {
    if (this.#files.length === 0) return;
    const linkPath = this.#random.pick(this.#files);
    this.#replace(path, 'file');
    this.#say({ ...this.#metadata(), type: 'hardlink', path, linkPath });
  }

  /** To a directory of this layer, in one of three spellings. */
  #alias(path: string): void {
    const directories = [...this.#said].filter((said) => this.#shown.get(said) === 'directory');
    const directory = this.#random.pick(directories);
    const up = '../'.repeat(path.split('/').length - 1);
    const spellings = [`/${directory}`, `${up}${directory}`, `${up}../../${directory}/`];
    this.#put(path, { type: 'symlink', linkPath: this.#random.pick(spellings) });
    this.#aliases.push({ link: path, directory });
  }

  /** By some other way where there is one. */
  #spelled(path: string): string {
    const aliases = this.#aliases.filter(({ directory }) => path.startsWith(`${directory}/`));
    if (aliases.length === 0 || this.#random.below(100) < 40) return path;
    const { link, directory } = this.#random.pick(aliases);
    return `${link}${path.slice(directory.length)}`;
  }

  #put(path: string, more: Partial<Entry>): void {
    this.#replace(path, 'other');
    this.#say({ ...this.#metadata(), xattrs: new Map(), path, ...more });
  }

  #hide(): void {
    const hidable = [...this.#below.keys()].filter(
      (path) => path !== this.#top && !this.#isTouched(path) && this.#shown.has(path),
    );
    if (hidable.length === 0) return;
    const path = this.#random.pick(hidable);
    const slash = path.lastIndexOf('/');
    for (const above of [...parentsOf(path, this.#top)]) this.#directory(above);
    this.#forget(path);
    this.#said.add(path);
    if (this.#random.below(100) < 15)
      this.#say({ ...PLAIN_DIRECTORY, type: 'char-device', device: { major: 0, minor: 0 }, path });
    else this.#say(fileEntry(`${path.slice(0, slash)}/.wh.${path.slice(slash + 1)}`, Buffer.alloc(0)).header);
  }

  #opaque(): void {
    const own = [...this.#below].filter(
      ([path, kind]) =>
        kind === 'directory' && path !== this.#top && !this.#isTouched(path) && this.#shown.has(path),
    );
    if (own.length === 0) return;
    const [path] = this.#random.pick(own);
    for (const above of parentsOf(path, this.#top)) this.#directory(above);
    this.#forget(path);
    this.#directory(path);
    this.#say(fileEntry(`${path}/.wh..wh..opq`, Buffer.alloc(0)).header);
  }

  #isTouched(path: string): boolean {
    return [...this.#said].some(
      (said) => said === path || said.startsWith(`${path}/`) || isUnder(path, [said], this.#shown),
    );
  }

  #replace(path: string, kind: 'directory' | 'file' | 'other'): void {
    if (kind !== 'directory' || this.#shown.get(path) !== 'directory') this.#forget(path);
    this.#shown.set(path, kind);
    this.#said.add(path);
  }

  #forget(path: string): void {
    for (const known of [...this.#shown.keys()]) {
      if (known === path || known.startsWith(`${path}/`)) this.#shown.delete(known);
    }
  }

  #metadata(): Entry {
    const random = this.#random;
    const xattrs = new Map<string, Uint8Array>();
    if (random.below(100) < 15) xattrs.set('user.note', Buffer.from([random.below(256), 0, 10, 61, 255]));
    if (random.below(100) < 8) xattrs.set('trusted.test', Buffer.from('t'));
    if (random.below(100) < 8) xattrs.set('security.capability', CAPABILITY);
    const mtime =
      random.pick(SECONDS) * 1_000_000_000n +
      (random.below(100) < 40 ? BigInt(random.below(1_000_000_000)) : 0n);
    return {
      ...PLAIN_DIRECTORY,
      path: '',
      mode: random.pick(MODES),
      uid: random.pick(OWNERS),
      gid: random.pick(OWNERS),
      mtime,
      xattrs,
    };
  }

  #say(header: Entry, content: AsyncIterable<Uint8Array> = NO_CONTENT): void {
    const isFile = header.type === 'file';
    const xattrs =
      isFile || header.type === 'hardlink' ? header.xattrs : without(header.xattrs, 'security.capability');
    const path = this.#spelled(header.path);
    const linkPath = header.type === 'hardlink' ? this.#target(header.linkPath) : header.linkPath;
    this.#entries.push({ header: { ...header, path, linkPath, xattrs }, content });
  }

  #target(path: string): string {
    return this.#random.below(100) < 30 ? `/${path}` : path;
  }
}

function* parentsOf(path: string, top: string): Generator<string> {
  for (let at = path.indexOf('/', top.length); at >= 0; at = path.indexOf('/', at + 1))
    yield path.slice(0, at);
}

/** Something other than a directory that the layer said lies on the way. */
function isUnder(path: string, said: Iterable<string>, shown: Shown): boolean {
  return [...said].some((above) => path.startsWith(`${above}/`) && shown.get(above) !== 'directory');
}

function without(xattrs: Entry['xattrs'], name: string): Entry['xattrs'] {
  return new Map([...xattrs].filter(([each]) => each !== name));
}
