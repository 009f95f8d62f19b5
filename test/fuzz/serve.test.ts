import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IncomingMessage } from 'node:http';
import { clientAddresses } from '../../src/http-server/client-address.ts';
import { blobName, pathComponents, resource } from '../../src/http-server/path.ts';
import { contentRange, wantedRange } from '../../src/http-server/range.ts';
import { parseSigningKeys } from '../../src/serve/tokens/signing-key.ts';
import { Secret } from '../../src/serve/torrents/secret.ts';
import { isSigned } from '../../src/serve/torrents/web-seed-url.ts';
import { digestFromHex } from '../../src/image/digest.ts';
import { parseJsonObject } from '../../src/image/json.ts';
import { fuzzParsers, JSON_PIECES } from '../helpers/corpus.ts';
import { announceInto } from './announce.ts';

const SIZE = 10_000;
const { clientOf } = clientAddresses(['127.0.0.0/8', '192.0.2.0/24', 'fe80::/10']);
const SECRET = new Secret(Buffer.alloc(32, 7));
const BLOB = { repository: 'team/app', digest: digestFromHex('ab'.repeat(32)) };
const announce = await announceInto();
let announced = 0;

fuzzParsers({
  Range: {
    corpus: 'ranges',
    pieces: ['bytes=', '-', ',', '0', '9999', '9999999999999999', ' '],
    codes: [],
    parse: (bytes) => {
      const range = wantedRange(bytes.toString('latin1'), SIZE);
      if (range.kind !== 'part') return;
      assert.ok(range.start < range.end && range.end <= SIZE && range.start >= 0);
      assert.match(contentRange(range, SIZE), /^bytes \d+-\d+\/10000$/);
    },
  },
  'paths of the service': {
    corpus: 'paths',
    pieces: ['/', '%2f', '%2e', '..', '%', '%00', 'blobs', 'manifests', 'tags/list', '\\'],
    codes: [],
    parse: (bytes) => {
      const components = pathComponents(bytes.toString('latin1')) ?? [];
      const wanted = resource(components.slice(1));
      const repository =
        blobName(components)?.repository ?? (wanted?.kind === 'base' ? undefined : wanted?.repository);
      if (repository !== undefined) assert.match(repository, /^[a-z0-9][a-z0-9._/-]*$/);
    },
  },
  'X-Forwarded-For': {
    corpus: 'forwarded',
    pieces: [',', ' ', '127.0.0.1', '[', ']', ':1', '::', '%', '::ffff:'],
    codes: [],
    parse: (bytes) => {
      const headers = { 'x-forwarded-for': bytes.toString('latin1') };
      clientOf({ socket: { remoteAddress: '127.0.0.1' }, headers } as unknown as IncomingMessage);
    },
  },
  'queries of signed URLs': {
    corpus: 'announces',
    pieces: ['&', '=', '%', 'expires=', 'signature=', '999999999999'],
    codes: [],
    parse: (bytes) => {
      const query = new URLSearchParams(bytes.toString('latin1'));
      assert.equal(isSigned(SECRET, BLOB, query, Date.now()), false);
    },
  },
  'signing keys of the secret file': {
    corpus: 'signing-keys',
    pieces: [...JSON_PIECES, '"jwk":', '"kty":"RSA"', '"created":'],
    codes: ['limit', 'protocol'],
    parse: (bytes) =>
      parseSigningKeys(
        parseJsonObject(Buffer.from(`{"keys":${bytes.toString('latin1')}}`), 'keys', 1e6)['keys'],
      ),
  },
  'queries of the tracker': {
    corpus: 'announces',
    pieces: [
      '&',
      '=',
      '%',
      '%00',
      'info_hash=',
      'port=0',
      'left=',
      'numwant=1e9',
      'jwt=',
      'ipv6=',
      'compact=0',
    ],
    codes: [],
    parse: async (bytes) => {
      if (await announce(bytes)) announced++;
    },
  },
});

test('mutants of announces come as far as the peers', () => {
  assert.ok(announced > 100, `${announced} did`);
});
