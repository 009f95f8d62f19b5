import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import test from 'node:test';
import { MAX_BLOCK, MessageReader } from '../../src/swarm/wire/message-reader.ts';
import { Random } from '../helpers/fuzz.ts';
import { message, uint32 } from '../helpers/liar.ts';

const ROUNDS = 300;

/** What a reader told, as text. */
function read(chunks: readonly Uint8Array[]): string[] {
  const told: string[] = [];
  const reader = new MessageReader({
    onBlock: (_index, _offset, length) => ({ target: Buffer.alloc(length) }),
    onFilled: (index, offset, length, { target }) =>
      told.push(`block ${index} ${offset} ${length} ${Buffer.from(target ?? []).toString('hex')}`),
    onMessage: (bytes) => told.push(Buffer.from(bytes).toString('hex')),
    onTooLong: () => told.push('too long'),
  });
  for (const chunk of chunks) reader.read(chunk);
  return told;
}

const head = (length: number, id: number): Buffer => Buffer.concat([uint32(length), Buffer.of(id)]);

test('however the bytes are cut, the messages are the same', (t) => {
  const seed = randomInt(2 ** 32 - 1);
  t.diagnostic(`seed ${seed}`);
  const random = new Random(seed);
  const bytesOf = (length: number): Buffer => Buffer.from(Array.from({ length }, () => random.below(256)));
  for (let round = 0; round < ROUNDS; round++) {
    const messages: Buffer[] = [];
    const expected: string[] = [];
    for (let count = random.below(12); count > 0; count--) {
      const payload = bytesOf(random.below(40));
      const id = random.below(24);
      const kind = random.below(3);
      if (kind === 0) messages.push(uint32(0));
      else if (kind === 1) {
        const [index, offset] = [random.below(2 ** 31), random.below(2 ** 31)];
        messages.push(message(7, Buffer.concat([uint32(index, offset), payload])));
        expected.push(`block ${index} ${offset} ${payload.length} ${payload.toString('hex')}`);
      } else if (id !== 7) {
        messages.push(message(id, payload));
        expected.push(Buffer.concat([Buffer.of(id), payload]).toString('hex'));
      }
    }
    const stream = Buffer.concat(messages);
    const chunks: Buffer[] = [];
    for (let at = 0; at < stream.length;) {
      const end = at + 1 + random.below(random.below(5) === 0 ? stream.length : 7);
      chunks.push(stream.subarray(at, end));
      at = end;
    }
    assert.deepEqual(read(chunks), expected, `seed ${seed} round ${round}`);
  }
});

for (const [what, bytes] of [
  ['a message of 4 GiB', head(0xffff_ffff, 20)],
  ['a message one byte over 64 KiB', head(64 * 1024 + 1, 20)],
  ['a block one byte over 128 KiB', Buffer.concat([head(9 + MAX_BLOCK + 1, 7), uint32(0, 0)])],
  ['a block of 4 GiB', Buffer.concat([head(0xffff_ffff, 7), uint32(0, 0)])],
] as const) {
  test(`${what} ends the reading, and nothing behind it is read`, () => {
    assert.deepEqual(read([message(1), bytes, message(2), message(3)]), ['01', 'too long']);
  });
}

test('the longest message and the longest block are read', () => {
  const [longest, block] = [Buffer.alloc(64 * 1024 - 1, 1), Buffer.alloc(MAX_BLOCK, 2)];
  const told = read([message(20, longest), message(7, Buffer.concat([uint32(1, 2), block]))]);
  assert.deepEqual(told, [`14${longest.toString('hex')}`, `block 1 2 ${MAX_BLOCK} ${block.toString('hex')}`]);
});

test('a `piece` without its numbers is a message like others', () => {
  assert.deepEqual(read([message(7, Buffer.alloc(7))]), ['0700000000000000']);
});

test('a reader that was ended in the midst of a block writes nothing more', () => {
  const target = Buffer.alloc(8);
  const filling: { target: Uint8Array | undefined } = { target };
  const reader = new MessageReader({
    onBlock: () => filling,
    onFilled: () => assert.fail('it never came whole'),
    onMessage: () => assert.fail('it is a block'),
    onTooLong: () => assert.fail('it is short'),
  });
  reader.read(Buffer.concat([head(17, 7), uint32(0, 0), Buffer.alloc(4, 1)]));
  reader.end();
  reader.read(Buffer.alloc(4, 1));
  assert.deepEqual([...target], [1, 1, 1, 1, 0, 0, 0, 0]);
  assert.equal(filling.target, undefined);
});
