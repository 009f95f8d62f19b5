import { Readable } from 'node:stream';
import { orAborted } from '../base/abort.ts';
import { fileEntry, type TarEntry } from '../tar/entry.ts';
import { tarBytes } from '../tar/writer.ts';

/** One file of an archive; the length of a streamed one must be known before it begins. */
export type ArchivePart =
  | { readonly name: string; readonly bytes: Uint8Array }
  | { readonly name: string; readonly size: number; readonly open: () => Promise<Readable> };

/** An archive on its way to an engine. */
export interface Upload {
  readonly body: Readable;
  /** Why the body ended before the archive was complete: what `parts` failed with, or the signal's reason. */
  readonly failure: () => Error | undefined;
}

/**
 * A tar that is written while it is read. `parts` may wait before each part and before its end; an engine acts on an
 * archive once it is complete, so it waits as well.
 *
 * Where the parts fail, or the signal aborts, the body ends early in place of breaking off: an engine that sees a
 * connection break keeps what it has received (Docker with containerd's store for 24 hours), while a truncated
 * archive is refused and removed at once.
 */
export function archive(parts: AsyncIterable<ArchivePart>, signal: AbortSignal): Upload {
  let failure: Error | undefined;
  const chunks = async function* (): AsyncGenerator<Uint8Array> {
    const bytes = tarBytes(entries(parts, signal))[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await orAborted(bytes.next(), signal);
        if (next.done === true) return;
        yield next.value;
      }
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error));
    } finally {
      // A part that is still waited for must not hold up the end of the body.
      bytes.return(undefined).catch(() => undefined);
    }
  };
  return { body: Readable.from(chunks(), { objectMode: false }), failure: () => failure };
}

async function* entries(parts: AsyncIterable<ArchivePart>, signal: AbortSignal): AsyncGenerator<TarEntry> {
  for await (const part of parts) {
    if ('bytes' in part) {
      yield fileEntry(part.name, part.bytes);
      continue;
    }
    const { header } = fileEntry(part.name, new Uint8Array());
    const source = await part.open();
    const abort = (): void => void source.destroy(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
    source.on('error', () => undefined);
    try {
      yield { header: { ...header, size: part.size }, content: source as AsyncIterable<Uint8Array> };
    } finally {
      signal.removeEventListener('abort', abort);
      source.destroy();
    }
  }
}

/** Parts that are there already. */
export async function* streamed(
  parts: Iterable<ArchivePart> | AsyncIterable<ArchivePart>,
): AsyncGenerator<ArchivePart> {
  yield* parts;
}
