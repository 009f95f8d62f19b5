import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { orAborted } from '../../src/base/abort.ts';
import type { ArchivePart } from '../../src/engines/archive.ts';
import { Arrivals } from '../../src/engines/arrivals.ts';
import { loadUnpacking, type UnpackingForm } from '../../src/engines/docker/unpacking-load.ts';
import { digestOf } from '../../src/image/digest.ts';

const MB = 1024 * 1024;
const CHUNK = 256 * 1024;
const LAYERS = Array.from({ length: 5 }, (_, at) => ({
  mediaType: 'application/vnd.oci.image.layer.v1.tar',
  digest: digestOf(Buffer.from(String(at))),
  size: 6 * MB,
}));
const never = new AbortController().signal;

/** An engine that reads an archive as it comes, and has stored a layer once it has read past it. */
class FakeEngine implements UnpackingForm {
  /** What it did, in order: `unpack N`, `image`. */
  readonly log: string[] = [];
  readonly dropped: number[] = [];
  unpacksAhead = true;
  /** Layers whose bytes it buffers before it looks at them. */
  behind = 0;
  failure: Error | undefined;
  /** The layer that does not come before this resolves. */
  held: { readonly at: number; readonly until: Promise<void> } | undefined;
  #read = 0;

  readonly first = (): ArchivePart[] => [];

  async layer(at: number): Promise<ArchivePart> {
    if (this.held?.at === at) await this.held.until;
    const chunks = Array.from({ length: (6 * MB) / CHUNK }, () => Buffer.alloc(CHUNK));
    return { name: `layer ${at}`, size: 6 * MB, open: async () => Readable.from(chunks) };
  }

  documents(count: number): ArchivePart[] {
    return [{ name: 'documents', bytes: Buffer.from(String(count)) }];
  }

  async send(parts: AsyncIterable<ArchivePart>): Promise<void> {
    for await (const part of parts) {
      if ('bytes' in part) this.log.push('image');
      else {
        for await (const chunk of await part.open()) {
          void chunk;
          // Others get their turn, as on a socket.
          await new Promise(setImmediate);
        }
        this.#read++;
      }
    }
  }

  async unpack(parts: AsyncIterable<ArchivePart>): Promise<void> {
    for await (const part of parts) {
      const count = 'bytes' in part ? Number(Buffer.from(part.bytes).toString()) : 0;
      if (this.failure !== undefined) throw this.failure;
      if (count > this.#read - this.behind) throw new Error('too early');
      this.log.push(`unpack ${count}`);
    }
  }

  taken(count: number): void {
    this.dropped.push(count);
  }

  isTooEarly(error: unknown): boolean {
    return error instanceof Error && error.message === 'too early';
  }
}

function load(engine: FakeEngine, from = 0): Promise<void> {
  const arrivals = new Arrivals(LAYERS, from, { ready: () => Promise.resolve() });
  return loadUnpacking(LAYERS, from, engine, arrivals, { signal: never });
}

test('layers are unpacked while later ones are still to come, and the image comes last', async () => {
  const engine = new FakeEngine();
  const held = Promise.withResolvers<void>();
  engine.held = { at: 4, until: held.promise };
  const loading = load(engine);
  while (engine.log.at(-1) !== 'unpack 3') await new Promise(setImmediate);
  held.resolve();
  await loading;
  assert.equal(engine.log.at(-1), 'image');
  assert.equal(engine.log.filter((entry) => entry === 'image').length, 1);
});

test('an engine behind a tunnel that buffers is given more time, and gets the image all the same', async () => {
  const engine = new FakeEngine();
  engine.behind = 2;
  await load(engine);
  assert.equal(engine.log.at(-1), 'image');
});

test('what the engine has is not sent, and nothing is unpacked where it cannot be asked to', async () => {
  const engine = new FakeEngine();
  engine.unpacksAhead = false;
  await load(engine, 3);
  assert.deepEqual(engine.log, ['image']);
  assert.deepEqual(engine.dropped, []);
});

test('a layer that cannot be unpacked ends the archive that is being sent', async () => {
  const engine = new FakeEngine();
  engine.failure = new Error('wrong diff id');
  // It never comes: only the failure can end this.
  const arrivals = new Arrivals(LAYERS, 0, { ready: () => Promise.resolve() });
  const form: UnpackingForm = {
    first: engine.first,
    layer: (at, signal) => (at < 2 ? engine.layer(at) : orAborted(new Promise<never>(() => {}), signal)),
    documents: (count) => engine.documents(count),
    send: (parts) => engine.send(parts),
    unpack: (parts) => engine.unpack(parts),
    unpacksAhead: true,
    taken: (count) => engine.taken(count),
    isTooEarly: (error) => engine.isTooEarly(error),
  };
  await assert.rejects(loadUnpacking(LAYERS, 0, form, arrivals, { signal: never }), /wrong diff id/);
  assert.deepEqual(engine.log, []);
});
