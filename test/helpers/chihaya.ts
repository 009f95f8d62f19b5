// A stand-in for Chihaya, which nobody packages: its JWT middleware's check (middleware/jwt/jwt.go), and a peer list.
import { createPublicKey, verify, type JsonWebKey, type KeyObject } from 'node:crypto';
import { encodeBencode } from '../../src/metainfo/bencode.ts';
import { startServer } from './http-server.ts';
import type { Scope } from './processes.ts';

export interface ChihayaConfig {
  readonly issuer: string;
  readonly audience: string;
  readonly jwkSetUrl: string;
}

export interface Chihaya {
  /** `http://127.0.0.1:PORT/announce` */
  readonly announce: string;
  /** `jwt:` of its configuration; the set is fetched as at its start. */
  configure(config: ChihayaConfig): Promise<void>;
  /** The set is fetched again, as on its interval. */
  refresh(): Promise<void>;
}

export async function startChihaya(scope: Scope): Promise<Chihaya> {
  let settings: ChihayaConfig | undefined;
  let keys = new Map<string, KeyObject>();
  const swarms = new Map<string, Map<string, Buffer>>();

  const refresh = async (): Promise<void> => {
    const set = (await (await fetch(settings?.jwkSetUrl ?? '')).json()) as {
      keys: (JsonWebKey & { kid: string })[];
    };
    keys = new Map(set.keys.map((key) => [key.kid, createPublicKey({ key, format: 'jwk' })]));
  };

  /** As validateJWT does: no look at `exp`. */
  const isValid = (token: string, infoHash: string): boolean => {
    const [head = '', body = '', signature = ''] = token.split('.');
    const { alg, kid = '' } = parse(head);
    const claims = parse(body);
    const key = keys.get(kid);
    if (claims['iss'] !== settings?.issuer || claims['aud'] !== settings?.audience) return false;
    if (claims['infohash'] !== infoHash || key === undefined || alg !== 'RS256') return false;
    return verify('RSA-SHA256', Buffer.from(`${head}.${body}`), key, Buffer.from(signature, 'base64url'));
  };

  const server = await startServer(scope, (request, response) => {
    const [, query = ''] = (request.url ?? '').split('?');
    const parameters = new Map(query.split('&').map((pair) => pair.split('=', 2) as [string, string]));
    const infoHash = percentDecoded(parameters.get('info_hash') ?? '').toString('hex');
    const token = parameters.get('jwt');
    const fail = (reason: string): void => void response.end(encodeBencode({ 'failure reason': reason }));
    if (token === undefined) return fail('unapproved request: missing jwt');
    if (!isValid(token, infoHash)) return fail('unapproved request: invalid jwt');
    const swarm = swarms.get(infoHash) ?? new Map<string, Buffer>();
    swarms.set(infoHash, swarm);
    const port = Number(parameters.get('port'));
    const own = parameters.get('peer_id') ?? '';
    if (parameters.get('event') === 'stopped') swarm.delete(own);
    else swarm.set(own, Buffer.of(127, 0, 0, 1, port >> 8, port & 255));
    const peers = [...swarm].flatMap(([id, address]) => (id === own ? [] : [address]));
    response.end(encodeBencode({ interval: 1800, 'min interval': 1, peers: Buffer.concat(peers) }));
  });

  return {
    announce: `${server.url}/announce`,
    configure: async (config) => {
      settings = config;
      await refresh();
    },
    refresh,
  };
}

function parse(part: string): Record<string, string> {
  try {
    return JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, string>;
  } catch {
    return {};
  }
}

function percentDecoded(text: string): Buffer {
  const bytes = text.replaceAll(/%([0-9a-fA-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, 'latin1');
}
