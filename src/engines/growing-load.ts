import type { Descriptor } from '../image/descriptor.ts';
import type { ArchivePart } from './archive.ts';
import type { Arrivals } from './arrivals.ts';
import type { EnginePresence, LoadOptions } from './engine.ts';

/** The layers that follow are not worth an archive of their own when they are smaller than this in total. Bytes. */
const REST_BYTES = 4 * 1024 * 1024;

/** An archive of its own costs the engine a tenth of a second, so small layers wait for each other. Bytes. */
const LEAST_BYTES = 8 * 1024 * 1024;
/** But for the first ones, for which an engine waits that has nothing else to do. Bytes. */
const FIRST_BYTES = 2 * 1024 * 1024;

/** How one engine takes an image in growing pieces. */
export interface GrowingForm {
  /** The file of one layer; undefined where the archive does not need it. */
  layer(at: number, signal: AbortSignal): ArchivePart | undefined | Promise<ArchivePart | undefined>;
  /** The files that make the first `count` layers an image; all layers make the wanted image itself. */
  documents(count: number): Iterable<ArchivePart> | AsyncIterable<ArchivePart>;
  /** Sends one archive. Resolves once the engine has unpacked it. */
  send(parts: AsyncIterable<ArchivePart>, signal: AbortSignal): Promise<unknown>;
  /** The engine has the first `count` layers. */
  taken?(count: number): void;
}

/** The first layer that is not in the engine. Unpacked layers build on each other, so all after it are missing, too. */
export function firstMissing({ image, layers }: EnginePresence): number {
  const at = image ? -1 : layers.indexOf(false);
  return at < 0 ? layers.length : at;
}

/**
 * Loads an image as a series of archives, each with the layers that the one before it did not have, so that the
 * engine unpacks early layers while later ones still arrive. An engine unpacks an archive once it has all of it.
 *
 * An archive takes layers for as long as the engine is busy with the one before it: a fast engine gets many small
 * archives, a slow one few large ones. At most two are under way, one being unpacked and one being sent.
 * @param from the layers before this one are in the engine, or will be once `below` resolves
 */
export async function loadGrowing(
  layers: readonly Descriptor[],
  from: number,
  form: GrowingForm,
  arrivals: Arrivals,
  options: Pick<LoadOptions, 'signal' | 'onProgress'>,
  below: Promise<void> = Promise.resolve(),
): Promise<void> {
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const fail = (error: unknown): void => stop.abort(error);
  // A layer that cannot come ends the archive that is being sent, whichever layer that one is at.
  arrivals.failed.catch(fail);

  let before = below.then(() => report(0, from, true));
  let last = before;
  before.catch(fail);
  try {
    let at = from;
    do {
      before = last;
      const archive = startArchive(at, before);
      last = archive.taken;
      // The first archive that fails ends the others, and the wait for blobs.
      last.catch(fail);
      at = await archive.end;
    } while (at < layers.length);
    await last;
  } catch (error) {
    await Promise.allSettled([before, last]);
    throw stop.signal.aborted && !options.signal.aborted ? stop.signal.reason : error;
  }

  /** `end`: the index behind its last layer, once all of it was sent. `taken`: the engine has unpacked it. */
  function startArchive(
    at: number,
    engineIsIdle: Promise<void>,
  ): { end: Promise<number>; taken: Promise<void> } {
    let end = at;
    const sent = Promise.withResolvers<void>();
    const parts = async function* (): AsyncGenerator<ArchivePart> {
      const engine = { isIdle: false };
      const idle = engineIsIdle.then(() => void (engine.isIdle = true));
      // Told by the wait below, or by the failure of the archive before this one.
      idle.catch(() => undefined);
      while (end < layers.length) {
        const part = await form.layer(end, signal);
        report(end, end + 1, false);
        if (part !== undefined) yield part;
        end++;
        const size = bytesFrom(at) - bytesFrom(end);
        const least = at === from ? FIRST_BYTES : LEAST_BYTES;
        if (engine.isIdle && size >= least && bytesFrom(end) > REST_BYTES) break;
      }
      // The engine begins to unpack when the archive ends; by then the layers below must be there.
      await idle;
      yield* form.documents(end);
      sent.resolve();
    };
    const taken = form.send(parts(), signal).then(() => {
      form.taken?.(end);
      report(at, end, true);
    });
    return { end: Promise.race([sent.promise, taken]).then(() => end), taken };
  }

  function bytesFrom(at: number): number {
    return layers.slice(at).reduce((sum, { size }) => sum + size, 0);
  }

  function report(at: number, end: number, done: boolean): void {
    for (const { digest } of layers.slice(at, end)) options.onProgress?.({ layer: digest, done });
  }
}
