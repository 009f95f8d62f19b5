import assert from 'node:assert/strict';
import test from 'node:test';
import { ClaimBook, decodeClaims, encodeClaims } from '../../src/swarm/claims.ts';

test('a message comes back as it was sent', () => {
  for (const message of [
    { kind: 'claim', pieces: [0, 7, 99] },
    { kind: 'drop', pieces: [3] },
    { kind: 'fetching', pieces: [5, 6] },
  ] as const) {
    assert.deepEqual(decodeClaims(encodeClaims(message), 100), message);
  }
});

test('messages from strangers that are none are refused', () => {
  const refused: [string, Uint8Array][] = [
    ['empty', new Uint8Array()],
    ['no pieces', Uint8Array.of(0)],
    ['a part of an index', Uint8Array.of(0, 0, 0, 1)],
    ['an unknown kind', Uint8Array.of(3, 0, 0, 0, 1)],
    ['a piece that does not exist', Uint8Array.of(0, 0, 0, 0, 100)],
    ['a huge index', Uint8Array.of(0, 0xff, 0xff, 0xff, 0xff)],
    ['too many pieces', new Uint8Array(1 + 4 * 65)],
  ];
  for (const [name, bytes] of refused) assert.equal(decodeClaims(bytes, 100), undefined, name);
});

test('a claim ends with time, with the piece, when it is dropped, and with the connection', () => {
  const ends: ((book: ClaimBook) => void)[] = [
    (book) => book.expire(100),
    (book) => book.fulfilled('peer', 1),
    (book) => book.hear('peer', { kind: 'drop', pieces: [1] }, 10, 100),
    (book) => book.forget('peer'),
  ];
  for (const end of ends) {
    const book = new ClaimBook();
    book.hear('peer', { kind: 'claim', pieces: [1] }, 0, 100);
    assert.deepEqual(book.claimers(1, 50), [{ peer: 'peer', fetching: false }]);
    end(book);
    assert.deepEqual(book.claimers(1, 50), []);
  }
});

test('a peer cannot hold a piece back by claiming it again and again', () => {
  const book = new ClaimBook();
  book.hear('liar', { kind: 'claim', pieces: [1] }, 0, 100);
  book.expire(100);
  book.hear('liar', { kind: 'claim', pieces: [1] }, 100, 100);
  assert.deepEqual(book.claimers(1, 101), []);
});

test('a peer holds at most 64 pieces back at once, and none after four broken claims', () => {
  const book = new ClaimBook();
  const all = Array.from({ length: 200 }, (_, index) => index);
  book.hear('liar', { kind: 'claim', pieces: all }, 0, 100);
  assert.equal(all.filter((index) => book.claimers(index, 1).length > 0).length, 64);
  book.expire(100);
  book.hear('liar', { kind: 'claim', pieces: all.slice(100) }, 100, 100);
  assert.equal(all.filter((index) => book.claimers(index, 101).length > 0).length, 0);
});
