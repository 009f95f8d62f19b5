import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import type { HttpAnswer } from '../../src/http/http.ts';
import { readMessages } from '../../src/engines/docker-api/messages.ts';
import { digestOf } from '../../src/image/digest.ts';
import { bodyOf } from '../../src/registry/blob-body.ts';
import { parseChallenges } from '../../src/registry/challenge.ts';
import { parseRefusal } from '../../src/registry/failures.ts';
import { redirectTarget } from '../../src/http/redirect.ts';
import { parseToken } from '../../src/registry/token.ts';
import { parseProgress } from '../../src/registry/torrent-answer.ts';
import { DockerRefusal } from '../../src/engines/docker-api/failures.ts';
import { fuzzParsers, JSON_PIECES } from '../helpers/corpus.ts';

const SERVER = new URL('https://registry.example/v2/');
const BLOB = { mediaType: 'application/octet-stream', digest: digestOf(Buffer.of()), size: 1000 };

fuzzParsers({
  challenges: {
    corpus: 'challenges',
    pieces: ['"', '\\', ',', '=', ' ', '\t', 'Bearer ', 'realm=', '\\"'],
    codes: [],
    parse: (bytes) => parseChallenges(bytes.toString('latin1')),
  },
  'answers of token servers': {
    corpus: 'tokens',
    pieces: [...JSON_PIECES, '"token":', '"expires_in":', '\\n'],
    codes: ['protocol'],
    parse: (bytes) => {
      const { value, lifeMs, expiresAt } = parseToken(bytes, SERVER);
      assert.match(value, /^[\x21-\x7e]+$/);
      assert.ok(lifeMs > 0 && Number.isFinite(lifeMs) && Number.isFinite(expiresAt));
    },
  },
  'refusals of registries': {
    corpus: 'refusals',
    pieces: [...JSON_PIECES, '\\u001b', '"message":', 'https://u:p@h/?sig=x'],
    codes: [],
    parse: (bytes) => {
      const { message } = parseRefusal(bytes);
      assert.ok(message.length <= 200 && !/\p{Cc}/u.test(message));
    },
  },
  'progress of a torrent service': {
    corpus: 'progress',
    pieces: [...JSON_PIECES, '"etaSeconds":'],
    codes: ['protocol'],
    parse: (bytes) => {
      const answer = parseProgress(bytes, bytes.toString('latin1').slice(0, 3), SERVER);
      assert.ok(answer.kind === 'hashing' && answer.etaSeconds >= 0);
      assert.ok(answer.retryAfterSeconds >= 1 && answer.retryAfterSeconds <= 60);
    },
  },
  'Content-Range': {
    corpus: 'content-ranges',
    pieces: ['bytes ', '-', '/', '*', '9', '100-199/1000'],
    codes: ['protocol', 'verification'],
    parse: (bytes) => {
      const headers = { 'content-range': bytes.toString('latin1') };
      const answer = { statusCode: 206, headers } as unknown as HttpAnswer;
      const body = bodyOf(answer, BLOB, { start: 100, end: 200 }, SERVER);
      assert.ok(body.kind === 'body' && body.length > 0 && body.length <= 100);
    },
  },
  Location: {
    corpus: 'locations',
    pieces: ['//', 'file:', 'http:', 'https:', '@', '\\', '\t', '#', '?'],
    codes: ['protocol'],
    parse: (bytes) => {
      const target = redirectTarget(SERVER, bytes.toString('latin1'), false);
      assert.deepEqual([target.protocol, target.username, target.password], ['https:', '', '']);
    },
  },
  'messages of Docker': {
    corpus: 'docker-messages',
    pieces: [...JSON_PIECES, '\n', '"errorDetail":', '"error":'],
    codes: ['engine'],
    parse: async (bytes) => {
      try {
        await readMessages(Readable.from([bytes]), () => undefined);
      } catch (error) {
        if (!(error instanceof DockerRefusal)) throw error;
      }
    },
  },
});
