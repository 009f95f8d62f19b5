import { Shares } from '../../src/http-server/shares.ts';
import assert from 'node:assert/strict';
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { decodeBencode, isDictionary } from '../../src/metainfo/bencode.ts';
import { parseInfoHash } from '../../src/metainfo/info-hash.ts';
import { AnnounceTokens } from '../../src/serve/tokens/announce-tokens.ts';
import { KeyRing } from '../../src/serve/tokens/key-ring.ts';
import { makeSigningKey } from '../../src/serve/tokens/signing-key.ts';
import { Secret } from '../../src/serve/torrents/secret.ts';
import { scrapedHash } from '../../src/serve/tracker/scrape.ts';
import { Tracker } from '../../src/serve/tracker/tracker.ts';

/** The info hash of the corpus. */
const INFO_HASH = parseInfoHash('123456789abcdef123456789abcdef123456789a');

/**
 * A tracker whose route takes queries without a network between. In them `TOKEN` becomes a token that is good for the
 * swarm of the corpus, so that mutants come as far as the peers. Gives true for those that do.
 */
export async function announceInto(): Promise<(query: Buffer) => Promise<boolean>> {
  const issuer = 'http://127.0.0.1:1';
  const tokens = new AnnounceTokens({
    keys: new KeyRing('/nonexistent', [await makeSigningKey(Date.now())]),
    secret: new Secret(Buffer.alloc(32, 7)),
    issuer,
    announce: `${issuer}/announce`,
    ttlSeconds: 86_400,
  });
  const token =
    new URL(await tokens.announceUrl(INFO_HASH, { authorization: undefined })).searchParams.get('jwt') ?? '';
  const limit = { perSecond: 1e9, burst: 1e9 };
  const tracker = new Tracker({ tokens, listener: () => undefined, limit });
  return async (bytes) => {
    const rawQuery = bytes.toString('latin1').replaceAll('TOKEN', token);
    scrapedHash(rawQuery);
    const answer = decodeBencode(await ask(tracker, rawQuery));
    assert.ok(isDictionary(answer));
    const keys = [...answer.entries.keys()];
    assert.ok(keys.includes('failure reason') || keys.includes('peers'), keys.join());
    return keys.includes('peers');
  };
}

function ask(tracker: Tracker, rawQuery: string): Promise<Uint8Array> {
  const request = new IncomingMessage(new Socket());
  const response = new ServerResponse(request);
  return new Promise((resolve, reject) => {
    response.end = ((body: Uint8Array | string) => {
      resolve(Buffer.from(body));
      return response;
    }) as typeof response.end;
    const signal = new AbortController().signal;
    const query = new URLSearchParams(rawQuery);
    const exchange = {
      request,
      response,
      method: 'GET',
      client: '192.0.2.7',
      site: '192.0.2.7',
      held: new Shares({ most: 1, mostEach: 1 }),
      components: ['announce'],
    } as const;
    const route = tracker.announceRoute({ ...exchange, query, rawQuery, signal, closing: signal });
    Promise.resolve(route).catch(reject);
  });
}
