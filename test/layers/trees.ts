import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { Readable } from 'node:stream';
import { fileEntry, NO_CONTENT, PLAIN_DIRECTORY, type Entry, type TarEntry } from '../../src/tar/entry.ts';
import { digestFromHex, type Digest } from '../../src/image/digest.ts';
import { plainBytes } from '../../src/layers/decompress.ts';
import { mergeLayers } from '../../src/layers/merge.ts';
import { tarBytes } from '../../src/tar/writer.ts';

const NEVER = new AbortController().signal;

/** An entry in few words: `{ path: 'a/b', text: 'content' }`; without text it is what `type` says. */
export type Brief = Partial<Entry> & { readonly path: string; readonly text?: string };

export async function tarOf(entries: readonly Brief[]): Promise<Buffer> {
  const all = async function* (): AsyncGenerator<TarEntry> {
    for (const { text, ...header } of entries) {
      const plain = fileEntry(header.path, Buffer.from(text ?? ''));
      const isFile = header.type === undefined || header.type === 'file';
      yield isFile
        ? { header: { ...plain.header, ...header }, content: plain.content }
        : { header: { ...PLAIN_DIRECTORY, ...header }, content: NO_CONTENT };
    }
  };
  return buffer(tarBytes(all()));
}

/** Merges layers given as tars, base first. */
export async function merge(...tars: readonly Uint8Array[]): Promise<{ header: Entry; text: string }[]> {
  const layers = tars.map(async (tar, at) => ({
    name: `layer ${at}`,
    diffId: await diffIdOf(Readable.from([Buffer.from(tar)])),
    open: () => Promise.resolve(Readable.from([Buffer.from(tar)])),
  }));
  const tree = await mergeLayers(await Promise.all(layers), NEVER);
  const entries = [];
  for await (const { header, content } of tree.entries()) {
    entries.push({ header, text: (await buffer(content)).toString('latin1') });
  }
  return entries;
}

/** Of a blob that cannot be unpacked, the digest of what came out. */
export async function diffIdOf(blob: Readable): Promise<Digest> {
  const hash = createHash('sha256');
  const plain = async (): Promise<void> => {
    for await (const chunk of plainBytes(blob)) hash.update(chunk);
  };
  await plain().catch(() => undefined);
  return digestFromHex(hash.digest('hex'));
}

/** What a merged image shows: `a/` for a directory, `b=content`, `l->target`, `h=>target` for a hard link. */
export async function shownBy(...layers: readonly (readonly Brief[])[]): Promise<string[]> {
  const merged = await merge(...(await Promise.all(layers.map(tarOf))));
  return merged.slice(1).map(({ header: { type, path, linkPath }, text }) => {
    if (type === 'directory') return `${path}/`;
    if (type === 'symlink') return `${path}->${linkPath}`;
    if (type === 'hardlink') return `${path}=>${linkPath}`;
    return type === 'file' ? `${path}=${text}` : `${path} ${type}`;
  });
}
