import { Readable } from 'node:stream';
import { orAborted } from '../../base/abort.ts';
import type { Descriptor } from '../../image/descriptor.ts';
import { streamed, type ArchivePart } from '../archive.ts';
import type { Arrivals } from '../arrivals.ts';
import type { LoadOptions } from '../engine.ts';
import type { GrowingForm } from '../growing-load.ts';

/**
 * So much may be under way between this process and an engine that has not read it yet: buffers of both sides and of
 * the socket, and one chunk. Where a tunnel buffers more, the engine says so, and it is doubled. Bytes.
 */
const UNDER_WAY_BYTES = 1024 * 1024;
const MAX_UNDER_WAY_BYTES = 64 * 1024 * 1024;

/** To have layers unpacked costs the engine some hundredths of a second besides, so small layers wait for each other. */
const LEAST_BYTES = 4 * 1024 * 1024;
/** But for the first ones, for which an engine waits that has nothing else to do. Bytes. */
const FIRST_BYTES = 2 * 1024 * 1024;
/** When no more than this is still to be sent, the image itself comes soon enough. Bytes. */
const REST_BYTES = 4 * 1024 * 1024;

/** How an engine takes layers in one archive, and unpacks those it has by others that bring none. */
export interface UnpackingForm extends Required<Omit<GrowingForm, 'send'>> {
  /** Manifests and config of the image, so that the engine has stored them when the layers arrive. */
  first(): Iterable<ArchivePart>;
  /** Sends the archive of the layers and of the image itself. Resolves once the engine has taken it. */
  send(parts: AsyncIterable<ArchivePart>, signal: AbortSignal): Promise<unknown>;
  /** Sends an archive without layers. Resolves once the engine has unpacked what it has of them. */
  unpack(parts: AsyncIterable<ArchivePart>, signal: AbortSignal): Promise<unknown>;
  /** False for an engine that unpacks no image like this one at a load. */
  readonly unpacksAhead: boolean;
  /** Whether the engine refused an archive because it has not stored a layer, from `from` on, that was just sent. */
  isTooEarly(error: unknown): boolean;
}

/**
 * Sends all layers in one archive that never stops, while they arrive. An engine stores each one as it ends and looks
 * at the image only when the archive does; so beside it go small archives of images that have the layers stored by
 * then, which make the engine unpack them while later ones are still being sent.
 * @param from the layers before this one are in the engine
 */
export async function loadUnpacking(
  layers: readonly Descriptor[],
  from: number,
  form: UnpackingForm,
  arrivals: Arrivals,
  options: Pick<LoadOptions, 'signal' | 'onProgress'>,
): Promise<void> {
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const fail = (error: unknown): void => stop.abort(error);
  // A layer that cannot come ends the archive that is being sent, whichever layer that one is at.
  arrivals.failed.catch(fail);
  report(0, from, true);

  const sent = new SentLayers(layers, from);
  const unpacking = form.unpacksAhead ? unpackSent() : Promise.resolve();
  const sending = form.send(parts(), signal);
  try {
    await Promise.all([unpacking, sending].map((work) => work.catch(failed)));
    report(from, layers.length, true);
  } catch (error) {
    await Promise.allSettled([unpacking, sending]);
    throw stop.signal.aborted && !options.signal.aborted ? stop.signal.reason : error;
  }

  async function* parts(): AsyncGenerator<ArchivePart> {
    yield* form.first();
    for (let at = from; at < layers.length; at++) {
      const part = await form.layer(at, signal);
      report(at, at + 1, false);
      if (part !== undefined) yield sent.counting(part);
      sent.ended(at);
    }
    sent.endedAll();
    // Two that unpack the same layer would do the work twice.
    await unpacking;
    yield* form.documents(layers.length);
  }

  async function unpackSent(): Promise<void> {
    let unpacked = from;
    for (;;) {
      const count = await sent.moreThan(unpacked, signal);
      if (count === undefined) return;
      try {
        await form.unpack(streamed(form.documents(count)), signal);
        form.taken(count);
        report(unpacked, count, true);
        unpacked = count;
      } catch (error) {
        if (!form.isTooEarly(error)) throw error;
        // Then all of them are unpacked at the end.
        if (!sent.waitLonger()) return;
      }
    }
  }

  function failed(error: unknown): never {
    fail(error);
    throw error;
  }

  function report(at: number, end: number, done: boolean): void {
    for (const { digest } of layers.slice(at, end)) options.onProgress?.({ layer: digest, done });
  }
}

/** Which layers the engine has surely stored, by what was sent after them. */
class SentLayers {
  readonly #layers: readonly Descriptor[];
  /** Bytes that had been sent when each layer ended, from the first one that is sent on. */
  readonly #ends: number[] = [];
  readonly #from: number;
  #bytes = 0;
  #underWay = UNDER_WAY_BYTES;
  #hasEnded = false;
  #changed = Promise.withResolvers<void>();

  constructor(layers: readonly Descriptor[], from: number) {
    this.#layers = layers;
    this.#from = from;
  }

  /** The same file, of which the bytes are counted when they are taken. */
  counting(part: ArchivePart): ArchivePart {
    if ('bytes' in part) return part;
    const chunks = async function* (this: SentLayers, source: Readable): AsyncGenerator<Uint8Array> {
      for await (const chunk of source) {
        this.#bytes += (chunk as Uint8Array).length;
        this.#tell();
        yield chunk as Uint8Array;
      }
    }.bind(this);
    const open = async (): Promise<Readable> => {
      const source = await part.open();
      return Readable.from(chunks(source), { objectMode: false }).once('close', () => source.destroy());
    };
    return { name: part.name, size: part.size, open };
  }

  ended(at: number): void {
    this.#ends[at - this.#from] = this.#bytes;
  }

  endedAll(): void {
    this.#hasEnded = true;
    this.#tell();
  }

  /** The engine has not stored what it should have. @returns false where no wait would be long enough */
  waitLonger(): boolean {
    this.#underWay *= 2;
    return this.#underWay <= MAX_UNDER_WAY_BYTES;
  }

  /**
   * Waits until it is worth having more layers unpacked than so many.
   * @returns how many of the lowest layers the engine has stored; undefined when all have been sent
   * @throws the signal's reason
   */
  async moreThan(unpacked: number, signal: AbortSignal): Promise<number | undefined> {
    while (!this.#hasEnded) {
      signal.throwIfAborted();
      const count = this.#stored();
      const isWorthIt = this.#sum(unpacked, count) >= (unpacked === this.#from ? FIRST_BYTES : LEAST_BYTES);
      if (isWorthIt && this.#sum(count, this.#layers.length) > REST_BYTES) return count;
      await orAborted(this.#changed.promise, signal);
    }
    return undefined;
  }

  #stored(): number {
    const at = this.#ends.findLastIndex((end) => end <= this.#bytes - this.#underWay);
    return this.#from + at + 1;
  }

  #sum(at: number, end: number): number {
    return this.#layers.slice(at, end).reduce((sum, { size }) => sum + size, 0);
  }

  #tell(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
