import assert from 'node:assert/strict';
import test from 'node:test';
import { decodeClaims, encodeClaims } from '../../src/swarm/claims/claim-messages.ts';
import { ClaimBook, type ClaimTimeouts } from '../../src/swarm/claims/claim-book.ts';

const [PEER, FRIEND, STRANGER, LIAR] = [1, 2, 3, 4];
const PATIENCE: ClaimTimeouts = { overtaken: 100, abandoned: 400, doubted: 100 };

const tagsOf = (book: ClaimBook, index: number): number[] => book.claimers(index).map(({ tag }) => tag);

test('a message comes back as it was sent', () => {
  for (const message of [
    { kind: 'claim', pieces: [0, 7, 99] },
    { kind: 'drop', pieces: [3] },
    { kind: 'fetching', pieces: [5, 6] },
    { kind: 'relayed', claims: [{ index: 5, tag: 2 ** 32 - 1 }] },
    {
      kind: 'withdrawn',
      claims: [
        { index: 0, tag: 0 },
        { index: 99, tag: 7 },
      ],
    },
  ] as const) {
    assert.deepEqual(decodeClaims(encodeClaims(message), 100), message);
  }
});

test('a message without anything that this version understands is nothing, never an error', () => {
  const nothing: [string, number[]][] = [
    ['empty', []],
    ['a kind alone', [0]],
    ['a header cut off', [0, 0, 4]],
    ['no entries', [0, 0, 4, 0]],
    ['a kind of a later version', [5, 0, 4, 1, 0, 0, 0, 1]],
    ['entries that are too short for an index', [0, 0, 3, 1, 0, 0, 1]],
    ['entries that are too short for a tag', [3, 0, 4, 1, 0, 0, 0, 1]],
    ['an entry cut off', [0, 0, 4, 1, 0, 0, 1]],
    ['a piece that does not exist', [0, 0, 4, 1, 0, 0, 0, 100]],
    ['a huge index', [0, 0, 4, 1, 0xff, 0xff, 0xff, 0xff]],
  ];
  for (const [name, bytes] of nothing)
    assert.equal(decodeClaims(Uint8Array.from(bytes), 100), undefined, name);
});

test('what a later version adds is skipped, and the rest of the message is read', () => {
  const claim = { kind: 'claim', pieces: [1, 2] };
  const understood: [string, number[], object][] = [
    ['flags', [0, 0x83, 4, 2, 0, 0, 0, 1, 0, 0, 0, 2], claim],
    ['a field of each entry', [0, 0, 6, 2, 0, 0, 0, 1, 9, 9, 0, 0, 0, 2, 9, 9], claim],
    ['a field behind the entries', [0, 0, 4, 2, 0, 0, 0, 1, 0, 0, 0, 2, 7, 7, 7], claim],
    ['a piece that this torrent does not have', [0, 0, 4, 3, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 2], claim],
    ['fewer entries than announced', [0, 0, 4, 9, 0, 0, 0, 1, 0, 0, 0, 2], claim],
    [
      'a field of a relayed claim',
      [3, 0, 9, 1, 0, 0, 0, 1, 0, 0, 0, 2, 9],
      { kind: 'relayed', claims: [{ index: 1, tag: 2 }] },
    ],
  ];
  for (const [name, bytes, message] of understood) {
    assert.deepEqual(decodeClaims(Uint8Array.from(bytes), 100), message, name);
  }
  const many = new Uint8Array(4 + 4 * 255);
  many.set([0, 0, 4, 255]);
  const read = decodeClaims(many, 100);
  assert.ok(read !== undefined && 'pieces' in read);
  assert.equal(read.pieces.length, 64, 'of a longer list the first 64 entries');
});

test('a claim ends with time, with the piece, when it is dropped, and with the connection', () => {
  const ends: ((book: ClaimBook) => void)[] = [
    (book) => book.expire(401, PATIENCE),
    (book) => book.fulfilled(PEER, 1, 10),
    (book) => book.hear(PEER, { kind: 'drop', pieces: [1] }, 10),
    (book) => book.forget(PEER),
  ];
  for (const end of ends) {
    const book = new ClaimBook();
    book.hear(PEER, { kind: 'claim', pieces: [1] }, 0);
    assert.deepEqual(tagsOf(book, 1), [PEER]);
    end(book);
    assert.deepEqual(tagsOf(book, 1), []);
  }
});

test('a claim is late sooner when later ones have come', () => {
  const book = new ClaimBook();
  book.hear(PEER, { kind: 'claim', pieces: [1] }, 0);
  book.expire(150, PATIENCE);
  assert.deepEqual(tagsOf(book, 1), [PEER], 'nothing has come: the pipe is slow, not the peer');
  for (const index of [2, 3]) {
    book.hear(FRIEND, { kind: 'claim', pieces: [index] }, 20);
    assert.equal(book.fulfilled(FRIEND, index, 120), 100, 'how long it took');
  }
  assert.equal(book.expire(150, PATIENCE), true);
  assert.deepEqual(tagsOf(book, 1), []);
});

test('what is heard is passed on once, by whoever it was told', () => {
  const book = new ClaimBook();
  const claims = [{ index: 1, tag: STRANGER }];
  assert.deepEqual(book.hear(PEER, { kind: 'relayed', claims }, 0), { kind: 'relayed', claims });
  assert.equal(book.hear(FRIEND, { kind: 'relayed', claims }, 0), undefined);
  assert.deepEqual(book.hear(PEER, { kind: 'claim', pieces: [2] }, 0), {
    kind: 'relayed',
    claims: [{ index: 2, tag: PEER }],
  });
  assert.deepEqual(book.hear(FRIEND, { kind: 'withdrawn', claims }, 0), { kind: 'withdrawn', claims });
  assert.deepEqual(tagsOf(book, 1), []);
  assert.deepEqual(book.forget(PEER), { kind: 'withdrawn', claims: [{ index: 2, tag: PEER }] });
});

test("a claimer's own word goes before what others say of it", () => {
  const book = new ClaimBook();
  book.hear(FRIEND, { kind: 'claim', pieces: [1] }, 0);
  book.hear(PEER, { kind: 'withdrawn', claims: [{ index: 1, tag: FRIEND }] }, 1);
  assert.deepEqual(tagsOf(book, 1), [FRIEND]);
});

test('a peer cannot hold a piece back by claiming it again and again', () => {
  const claimAgain: [string, (book: ClaimBook, now: number) => void][] = [
    ['late', (book, now) => book.expire(now + 401, PATIENCE)],
    ['dropped', (book, now) => book.hear(LIAR, { kind: 'drop', pieces: [1] }, now)],
  ];
  for (const [name, end] of claimAgain) {
    const book = new ClaimBook();
    for (let time = 0; time < 10; time++) {
      book.hear(LIAR, { kind: 'claim', pieces: [1] }, time * 1000);
      end(book, time * 1000);
    }
    book.hear(LIAR, { kind: 'claim', pieces: [1] }, 20_000);
    assert.deepEqual(tagsOf(book, 1), [], name);
  }
});

test('a peer holds at most 16 pieces back at once, and none when four were overtaken and none came', () => {
  const book = new ClaimBook();
  const all = Array.from({ length: 200 }, (_, index) => index);
  book.hear(LIAR, { kind: 'claim', pieces: all }, 0);
  assert.equal(all.filter((index) => book.claimers(index).length > 0).length, 16);
  for (const index of [190, 191]) {
    book.hear(PEER, { kind: 'claim', pieces: [index] }, 10);
    book.fulfilled(PEER, index, 20);
  }
  book.expire(150, PATIENCE);
  book.hear(LIAR, { kind: 'claim', pieces: all.slice(100) }, 150);
  assert.equal(all.filter((index) => book.claimers(index).length > 0).length, 0);
});

test('a peer that brings what it claimed, though late, is believed on', () => {
  const book = new ClaimBook();
  for (let index = 0; index < 40; index++) {
    const now = index * 1000;
    book.hear(PEER, { kind: 'claim', pieces: [index] }, now);
    book.kept(now + 1);
    book.kept(now + 1);
    book.expire(now + 150, PATIENCE);
    book.fulfilled(PEER, index, now + 200);
  }
  book.hear(PEER, { kind: 'claim', pieces: [90] }, 50_000);
  assert.deepEqual(tagsOf(book, 90), [PEER]);
});

test('what peers pass on is bounded: 64 at a time, and 8 claimers of a piece', () => {
  const book = new ClaimBook();
  const claims = Array.from({ length: 200 }, (_, index) => ({ index, tag: STRANGER }));
  book.hear(LIAR, { kind: 'relayed', claims }, 0);
  assert.equal(claims.filter(({ index }) => book.claimers(index).length > 0).length, 64);
  for (let peer = 10; peer < 30; peer++) book.hear(peer, { kind: 'claim', pieces: [199] }, 0);
  assert.equal(book.claimers(199).length, 8);
});
