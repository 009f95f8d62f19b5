import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import test from 'node:test';
import { pieceGeometry, pieceSpan } from '../../src/metainfo/geometry.ts';
import type { Filling } from '../../src/swarm/wire/message-reader.ts';
import type { BlockRange } from '../../src/swarm/pieces/piece-progress.ts';
import { BLOCK } from '../../src/swarm/wire/message-reader.ts';
import { Pieces } from '../../src/swarm/pieces/pieces.ts';
import { Random } from '../helpers/fuzz.ts';

const ROUNDS = 60;
const PIECE = 8 * BLOCK;
const LENGTH = 2 * PIECE + 3 * BLOCK + 777;
const MOST_STEPS = 20_000;
const GIVERS = 4;

interface Owed extends BlockRange {
  readonly index: number;
}

/** One peer: what it was asked for, oldest first, and what of the oldest has come. */
interface Giver {
  readonly owes: Owed[];
  arriving: { readonly owed: Owed; readonly filling: Filling; at: number } | undefined;
}

/** All that peers and a registry can do to pieces, in any order; the content counts up, so that each byte tells its place. */
class Chaos {
  readonly random: Random;
  readonly content = Buffer.from(Array.from({ length: LENGTH }, (_, at) => (at * 31 + (at >> 8)) % 251));
  readonly geometry = pieceGeometry(LENGTH, PIECE);
  readonly pieces = new Pieces(this.geometry, []);
  readonly givers: Giver[] = Array.from({ length: GIVERS }, () => ({ owes: [], arriving: undefined }));
  /** Pieces that were taken, and a copy of each: nobody may write into them. */
  readonly taken: { readonly bytes: Uint8Array; readonly copy: Uint8Array }[] = [];
  added = 0;

  constructor(seed: number) {
    this.random = new Random(seed);
  }

  step(): void {
    const giver = this.random.pick(this.givers);
    const what = this.random.below(20);
    if (what < 6) this.#ask(giver);
    else if (what < 16) this.#arrive(giver);
    else if (what < 17) this.#askAgain(giver);
    else if (what < 18) this.#giveUp(giver);
    else if (what < 19) this.#breakOff(giver);
    else if (this.random.below(30) === 0) this.#fromRegistry();
  }

  #ask(giver: Giver): void {
    const index = this.random.below(this.geometry.pieceCount);
    const range = this.pieces.askNext(index, this.random.pick([BLOCK, 3 * BLOCK, PIECE]));
    if (range !== undefined) giver.owes.push({ index, ...range });
  }

  /** As the picker does at the end: what somebody owes is asked of another. */
  #askAgain(giver: Giver): void {
    const owed = this.random.pick(this.givers).owes.at(0);
    if (
      owed === undefined ||
      giver.owes.some((own) => own.index === owed.index && own.offset === owed.offset)
    )
      return;
    if (this.pieces.askAgain(owed.index, owed)) giver.owes.push(owed);
  }

  #arrive(giver: Giver): void {
    const [owed] = giver.owes;
    if (giver.arriving === undefined && owed !== undefined) {
      giver.arriving = { owed, filling: this.pieces.place(owed.index, owed), at: 0 };
    }
    const { arriving } = giver;
    if (arriving === undefined) return;
    const { index, offset, length } = arriving.owed;
    const start = pieceSpan(this.geometry, index).start + offset;
    const part = 1 + this.random.below(length - arriving.at);
    const bytes = this.content.subarray(start + arriving.at, start + arriving.at + part);
    arriving.filling.target?.set(bytes, arriving.at);
    arriving.at += part;
    if (arriving.at < length) return;
    giver.arriving = undefined;
    const at = giver.owes.indexOf(arriving.owed);
    if (at === -1) return; // it was given up meanwhile
    giver.owes.splice(at, 1);
    this.added += this.pieces.filled(index, arriving.owed, arriving.filling);
    const whole = this.pieces.take(index);
    if (whole !== undefined) this.#finished(index, whole);
  }

  /** It stalls: others may be asked, and perhaps its block goes on arriving. */
  #giveUp(giver: Giver): void {
    for (const owed of giver.owes.splice(0)) this.pieces.giveUp(owed.index, owed);
  }

  /** Its connection ends: MessageReader takes the target away. */
  #breakOff(giver: Giver): void {
    if (giver.arriving !== undefined) giver.arriving.filling.target = undefined;
    giver.arriving = undefined;
    this.#giveUp(giver);
  }

  #fromRegistry(): void {
    const index = this.random.below(this.geometry.pieceCount);
    if (this.pieces.has(index)) return;
    const { start, end } = pieceSpan(this.geometry, index);
    this.added += end - start - this.pieces.drop(index);
    this.#verified(index);
  }

  #finished(index: number, bytes: Uint8Array): void {
    const { start, end } = pieceSpan(this.geometry, index);
    assert.ok(this.content.subarray(start, end).equals(bytes), `piece ${index} is wrong`);
    this.taken.push({ bytes, copy: Uint8Array.from(bytes) });
    this.#verified(index);
  }

  #verified(index: number): void {
    this.pieces.add(index);
    for (const giver of this.givers) {
      for (const owed of giver.owes.filter((one) => one.index === index)) {
        giver.owes.splice(giver.owes.indexOf(owed), 1);
        this.pieces.giveUp(index, owed);
      }
    }
  }
}

test('no order of asking, coming, coming twice and giving up loses or changes a byte', (t) => {
  const first = randomInt(2 ** 31);
  t.diagnostic(`seed ${first}`);
  for (let seed = first; seed < first + ROUNDS; seed++) {
    const chaos = new Chaos(seed);
    let steps = 0;
    while (!chaos.pieces.isComplete && steps++ < MOST_STEPS) chaos.step();
    assert.ok(chaos.pieces.isComplete, `seed ${seed}: ${chaos.pieces.count} pieces after ${steps} steps`);
    assert.equal(chaos.added, LENGTH, `seed ${seed}: bytes are counted once`);
    // What is still under way goes nowhere.
    for (const giver of chaos.givers) giver.arriving?.filling.target?.fill(255);
    for (const { bytes, copy } of chaos.taken) assert.ok(Buffer.from(copy).equals(bytes), `seed ${seed}`);
  }
});

test('a slow duplicate never writes into a piece that is whole', () => {
  const pieces = new Pieces(pieceGeometry(BLOCK, PIECE), []);
  const range = pieces.askNext(0, PIECE);
  assert.ok(range !== undefined && pieces.askAgain(0, range));
  const [slow, fast] = [pieces.place(0, range), pieces.place(0, range)];
  fast.target?.fill(1);
  assert.equal(pieces.filled(0, range, fast), BLOCK);
  const bytes = pieces.take(0);
  assert.equal(slow.target, undefined);
  assert.equal(pieces.filled(0, range, slow), 0);
  assert.ok(bytes?.every((byte) => byte === 1));
});

test('what one gives up is asked of another, and what was never asked is not given', () => {
  const pieces = new Pieces(pieceGeometry(2 * BLOCK, PIECE), []);
  const range = pieces.askNext(0, BLOCK);
  assert.deepEqual(range, { offset: 0, length: BLOCK });
  assert.deepEqual(pieces.askNext(0, PIECE), { offset: BLOCK, length: BLOCK });
  assert.equal(pieces.askNext(0, PIECE), undefined);
  pieces.giveUp(0, range);
  assert.deepEqual(pieces.askNext(0, PIECE), range);
  assert.equal(pieces.place(1, { offset: 0, length: BLOCK }).target, undefined);
});
