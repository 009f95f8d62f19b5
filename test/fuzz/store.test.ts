import assert from 'node:assert/strict';
import { digestFromHex } from '../../src/image/digest.ts';
import { parseRecord } from '../../src/serve/manifests/manifest-cache.ts';
import { parsePieceHashes } from '../../src/serve/torrents/hash-store.ts';
import { formatEntries, namedImage, parseEntries } from '../../src/store/index-file.ts';
import { parseJournal } from '../../src/store/journal.ts';
import { parseLease } from '../../src/store/leases.ts';
import { parseOwner } from '../../src/store/owner.ts';
import { parseServiceRecord } from '../../src/store/remembered-facts.ts';
import { createHash } from 'node:crypto';
import { fuzzParsers, JSON_PIECES } from '../helpers/corpus.ts';

const SIZE = 1000;

fuzzParsers({
  'index.json of the store': {
    corpus: 'indexes',
    pieces: [...JSON_PIECES, '"annotations":', '"size":', 'io.github.quayctl.manifest'],
    codes: ['limit', 'protocol'],
    parse: (bytes) => {
      const entries = parseEntries(bytes);
      for (const entry of entries) namedImage(entry);
      // Numbers that JavaScript cannot hold come back as others, from then on the same.
      const printed = formatEntries(entries);
      assert.deepEqual(formatEntries(parseEntries(printed)), printed);
    },
  },
  'journals of partial blobs': {
    corpus: 'journals',
    pieces: ['\n', '+', '-', ' ', '0', '9999999999999999', 'spans of 1000\n'],
    codes: [],
    parse: (bytes) => {
      const { spans, total } = parseJournal(bytes, SIZE, SIZE);
      assert.ok(total <= SIZE && spans.every(({ start, end }) => start < end && end <= SIZE));
    },
  },
  leases: {
    corpus: 'leases',
    pieces: [...JSON_PIECES, '\n', '+', '-'],
    codes: [],
    parse: (bytes) => {
      parseOwner(bytes.toString('latin1').split('\n', 1)[0] ?? '');
      parseLease(bytes);
    },
  },
  'records of services': {
    corpus: 'service-records',
    pieces: [...JSON_PIECES, 'https:', '//', '@'],
    codes: ['limit', 'protocol'],
    parse: (bytes) => {
      const url = parseServiceRecord(bytes);
      if (url !== undefined) assert.match(url.protocol, /^https?:$/);
    },
  },
  'manifests that the service keeps': {
    corpus: 'kept-manifests',
    pieces: [...JSON_PIECES, '\n', '"digest":'],
    codes: [],
    parse: (bytes) => {
      const record = parseRecord(bytes);
      if (record !== undefined) assert.ok(bytes.includes(record.digest));
    },
  },
  'piece hashes of the service': {
    corpus: 'piece-hashes',
    pieces: ['i', 'e', '6:pieces', '1:', 'd', 'i-1e'],
    codes: ['limit', 'protocol'],
    parse: (bytes) => {
      const checksum = createHash('sha256').update(bytes).digest();
      const hashes = parsePieceHashes(digestFromHex('ab'.repeat(32)), Buffer.concat([checksum, bytes]));
      if (hashes !== undefined) assert.equal(hashes.pieces.length % 20, 0);
    },
  },
});
