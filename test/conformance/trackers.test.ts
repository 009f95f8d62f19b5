import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Http } from '../../src/http/http.ts';
import { TrackerAddress } from '../../src/metainfo/tracker-address.ts';
import { announceTo } from '../../src/swarm/tracker/tracker.ts';
import { startServer } from '../helpers/http-server.ts';
import type { Scope } from '../helpers/processes.ts';
import { defineCheck } from './define-tests.ts';

const COMPACT = Buffer.from([127, 0, 0, 1, 0x1a, 0xe1]);
const COMPACT6 = Buffer.concat([Buffer.alloc(15), Buffer.from([1, 0x1a, 0xe1])]);
const MAPPED = Buffer.concat([Buffer.alloc(10), Buffer.from([0xff, 0xff]), COMPACT]);
const PEER = '127.0.0.1:6881';

const text = (...parts: readonly (string | Buffer)[]): Buffer =>
  Buffer.concat(parts.map((part) => Buffer.from(part as Buffer)));
const GOOD = text('d8:intervali60e5:peers6:', COMPACT, 'e');

interface Answer {
  readonly body: Buffer;
  readonly headers?: Readonly<Record<string, string>>;
  readonly peers?: readonly string[];
  readonly moved?: number;
}

/** What trackers answer, and the peers that libtorrent and aria2 read from it. */
const ANSWERS: Readonly<Record<string, Answer>> = {
  'F-1: in gzip': { body: gzipSync(GOOD), headers: { 'content-encoding': 'gzip' } },
  'F-1: in gzip, labelled x-gzip': { body: gzipSync(GOOD), headers: { 'content-encoding': 'x-gzip' } },
  'F-2: as it should be': { body: GOOD },
  'F-2: peers as dictionaries': {
    body: text('d8:intervali60e5:peersld2:ip9:127.0.0.14:porti6881eeee'),
  },
  'F-2: peers as dictionaries with peer IDs': {
    body: text('d8:intervali60e5:peersld2:ip9:127.0.0.17:peer id20:', 'x'.repeat(20), '4:porti6881eeee'),
  },
  'F-2: peers as dictionaries, ::ffff: before IPv4': {
    body: text('d8:intervali60e5:peersld2:ip16:::ffff:127.0.0.14:porti6881eeee'),
    peers: ['[::ffff:7f00:1]:6881'],
  },
  'F-2: peers6 alone': {
    body: text('d8:intervali60e6:peers618:', COMPACT6, 'e'),
    peers: ['[::1]:6881'],
  },
  'F-2: an IPv4 address in peers6': {
    body: text('d8:intervali60e6:peers618:', MAPPED, 'e'),
    peers: ['[::ffff:7f00:1]:6881'],
  },
  'F-2: an interval of 0': { body: text('d8:intervali0e5:peers6:', COMPACT, 'e') },
  'F-2: a negative interval': { body: text('d8:intervali-5e5:peers6:', COMPACT, 'e') },
  'F-2: no interval': { body: text('d5:peers6:', COMPACT, 'e') },
  'F-2: redirected': { body: GOOD, moved: 302 },
  'F-3: keys not sorted': { body: text('d5:peers6:', COMPACT, '8:intervali60ee') },
  'F-3: a key twice': { body: text('d8:intervali60e8:intervali90e5:peers6:', COMPACT, 'e') },
  'F-3: a key that is not ASCII': {
    body: text('d8:intervali60e3:k', Buffer.from('é'), '1:x5:peers6:', COMPACT, 'e'),
  },
  'F-3: a newline behind it': { body: text(GOOD, '\n') },
  'F-3: CR and LF behind it': { body: text(GOOD, '\r\n') },
  'F-3: a number with a leading zero': { body: text('d8:intervali060e5:peers6:', COMPACT, 'e') },
  'F-3: a length with a leading zero': { body: text('d8:intervali60e5:peers06:', COMPACT, 'e') },
};

describe('conformance: trackers', () => {
  for (const [name, answer] of Object.entries(ANSWERS)) {
    defineCheck(name, async (scope) => {
      assert.deepEqual(await peersOf(scope, answer), answer.peers ?? [PEER]);
    });
  }
});

async function peersOf(scope: Scope, { body, headers = {}, moved }: Answer): Promise<string[]> {
  const { url } = await startServer(scope, (request, response) => {
    if (moved !== undefined && request.url?.startsWith('/moved') === false) {
      return void response.writeHead(moved, { location: `/moved${request.url}` }).end();
    }
    response.writeHead(200, headers).end(body);
  });
  const http = new Http({ env: {}, certsDirectory: '/nonexistent' });
  scope.after(() => http.close());
  const announce = {
    infoHash: 'aa'.repeat(20),
    peerId: 'bb'.repeat(20),
    port: 6881,
    uploaded: 1,
    downloaded: 2,
    left: 3,
    numwant: 50,
  };
  const tracker = new TrackerAddress(`${url}/announce`);
  const { peers } = await announceTo(tracker, announce, http, new AbortController().signal);
  // IPv6 in its shortest form
  return peers.map((peer) => new URL(`http://${peer}`).host);
}
