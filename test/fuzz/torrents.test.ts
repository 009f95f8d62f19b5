import assert from 'node:assert/strict';
import {
  decodeBencode,
  encodeBencode,
  isDictionary,
  type BInput,
  type BValue,
} from '../../src/metainfo/bencode.ts';
import { decodeTorrent, withoutSecrets } from '../../src/metainfo/metainfo.ts';
import { decodeClaims, encodeClaims } from '../../src/swarm/claim-messages.ts';
import { fuzzParsers } from '../helpers/corpus.ts';

const BENCODE_PIECES = [
  'i',
  'e',
  'l',
  'd',
  '1:',
  'i1e',
  'i-1e',
  '0:',
  '-',
  '00',
  'le',
  'de',
  '5:files',
  '\xff\xfe',
];

fuzzParsers({
  bencode: {
    corpus: 'bencode',
    pieces: BENCODE_PIECES,
    codes: ['limit', 'protocol'],
    parse: (bytes) => assert.deepEqual(Buffer.from(encodeBencode(again(decodeBencode(bytes)))), bytes),
  },
  torrents: {
    corpus: 'torrents',
    pieces: [...BENCODE_PIECES, '8:announce', '8:url-list', 'http://', 'i9007199254740991e'],
    codes: ['limit', 'protocol', 'unsupported'],
    parse: (bytes) => {
      const { infoHash, digest } = decodeTorrent(bytes);
      const kept = decodeTorrent(withoutSecrets(bytes));
      assert.deepEqual([kept.infoHash, kept.digest, kept.urlList], [infoHash, digest, []]);
    },
  },
  'claims of peers': {
    corpus: 'claims',
    pieces: ['\0\0\0\0', '\xff\xff\xff\xff', '\x01'],
    codes: [],
    parse: (bytes) => {
      const claims = decodeClaims(bytes, 10);
      if (claims === undefined) return;
      const pieces = 'claims' in claims ? claims.claims.map(({ index }) => index) : claims.pieces;
      assert.ok(pieces.every((index) => index < 10));
      assert.deepEqual(Buffer.from(encodeClaims(claims)), bytes);
    },
  },
});

function again(value: BValue): BInput {
  if (typeof value === 'number' || value instanceof Uint8Array) return value;
  if (isDictionary(value))
    return Object.fromEntries([...value.entries].map(([key, item]) => [key, again(item)]));
  return value.map(again);
}
