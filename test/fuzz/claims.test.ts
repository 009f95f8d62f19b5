import assert from 'node:assert/strict';
import { decodeClaims, encodeClaims } from '../../src/swarm/claims/claim-messages.ts';
import { fuzzParsers } from '../helpers/corpus.ts';

/** Of the torrent that the claims are of. */
const PIECES = 10;

fuzzParsers({
  'claims of peers': {
    corpus: 'claims',
    pieces: ['\0\0\x04\x01', '\x03\0\x08\x01', '\0\0\0\0', '\xff\xff\xff\xff', '\x01', '\x03'],
    codes: [],
    parse: (bytes) => {
      const claims = decodeClaims(bytes, PIECES);
      // What this version does not know is skipped, so only the understood part comes back.
      if (claims !== undefined) assert.deepEqual(decodeClaims(encodeClaims(claims), PIECES), claims);
    },
  },
});
