import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { PrefixHash } from '../../src/store/prefix-hash.ts';

const MIB = 1024 * 1024;

/** Bytes of which the first `prefix` are written; reads take a turn of the event loop. */
class Growing {
  readonly bytes: Buffer;
  prefix = 0;
  reads = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  async readInto(buffer: Uint8Array, position: number): Promise<number> {
    this.reads += buffer.length;
    const length = this.bytes.copy(buffer, 0, position, position + buffer.length);
    await turn();
    return length;
  }

  get digest(): string {
    return createHash('sha256').update(this.bytes).digest('hex');
  }
}

test('bytes that come in order are hashed without being read', async () => {
  const source = new Growing(randomBytes(4 * MIB));
  const hash = new PrefixHash(source);
  for (let at = 0; at < 4 * MIB; at += MIB / 4) {
    hash.reset(at);
    hash.feed(at, source.bytes.subarray(at, at + MIB / 4));
    source.prefix = at + MIB / 4;
    hash.advance();
  }
  assert.equal(await hash.finish(4 * MIB), source.digest);
  assert.equal(source.reads, 0);
});

test('it catches up with an earlier run while new bytes keep coming', async () => {
  const source = new Growing(randomBytes(24 * MIB));
  source.prefix = 8 * MIB;
  const hash = new PrefixHash(source);
  hash.advance();
  const step = 64 * 1024;
  for (let at = 8 * MIB; at < 24 * MIB; at += step) {
    hash.reset(at);
    hash.feed(at, source.bytes.subarray(at, at + step));
    source.prefix = at + step;
    hash.advance();
    await turn();
  }
  const left = 24 * MIB - hash.position;
  assert.ok(left <= MIB, `${left} bytes are left to hash at the end`);
  assert.ok(source.reads <= 24 * MIB, `${source.reads} bytes were read`);
  assert.equal(await hash.finish(24 * MIB), source.digest);
});

test('bytes that change under a read that is under way are hashed as they are then', async () => {
  const source = new Growing(randomBytes(3 * MIB));
  source.prefix = 3 * MIB;
  const hash = new PrefixHash(source);
  hash.advance();
  for (let round = 0; round < 5; round++) {
    await turn();
    hash.reset(round * 1000);
    source.bytes.fill(round, round * 1000, round * 1000 + 500);
    hash.advance();
  }
  assert.equal(await hash.finish(3 * MIB), source.digest);
});

test('what cannot be read fails the end, and only once', async () => {
  const source = new Growing(randomBytes(MIB));
  source.prefix = MIB;
  let broken = true;
  const hash = new PrefixHash({
    prefix: MIB,
    readInto: (buffer, position) =>
      broken ? Promise.reject(new Error('input/output error')) : source.readInto(buffer, position),
  });
  hash.advance();
  await turn();
  await assert.rejects(hash.finish(MIB), /input\/output error/);
  broken = false;
  assert.equal(await hash.finish(MIB), source.digest);
});
