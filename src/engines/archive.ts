import type { Readable } from 'node:stream';
import { pack, type Pack } from 'tar-stream';

/** One file of an archive; the length of a streamed one must be known before it begins. */
export type ArchivePart =
  | { readonly name: string; readonly bytes: Uint8Array }
  | { readonly name: string; readonly size: number; readonly open: () => Promise<Readable> };

/** A stream of Node, or of streamx, on which tar-stream is built. */
export type UploadBody = NodeJS.ReadableStream & { destroy(error?: Error): void };

/**
 * A tar that is written as it is read. `parts` may take its time before each part, and before it ends: the archive
 * is complete only then, so an engine that reads it to its end waits with it. Fails with what `parts` fails with.
 */
export function archive(parts: AsyncIterable<ArchivePart>): UploadBody {
  const tar = pack();
  write(tar, parts).catch((error: unknown) => {
    tar.destroy(error instanceof Error ? error : new Error(String(error)));
  });
  // Node's http takes it; only the types of streamx say less than Node's.
  return tar as unknown as UploadBody;
}

async function write(tar: Pack, parts: AsyncIterable<ArchivePart>): Promise<void> {
  for await (const part of parts) {
    if (tar.destroyed) return;
    if ('bytes' in part) tar.entry({ name: part.name }, Buffer.from(part.bytes));
    else await copy(await part.open(), tar, part.name, part.size);
  }
  tar.finalize();
}

async function copy(source: Readable, tar: Pack, name: string, size: number): Promise<void> {
  let wake = (): void => undefined;
  const written = Promise.withResolvers<void>();
  // Called once the entry is complete, and when the tar is destroyed because its reader went away.
  const entry = tar.entry({ name, size }, (error) => {
    if (error) written.reject(error);
    else written.resolve();
    wake();
  });
  // It is told by the callback, too; an error event that nobody hears would end the process.
  entry.on('error', () => undefined);
  written.promise.catch(() => source.destroy());
  entry.on('drain', () => wake());
  for await (const chunk of source) {
    if (tar.destroyed) break;
    const drained = new Promise<void>((resolve) => (wake = () => resolve()));
    if (!entry.write(chunk)) await drained;
  }
  entry.end(null);
  await written.promise;
}
