// A stand-in for Chihaya (main branch of 2026), which nobody packages: what was observed of a real one, disorder included.
import { createPublicKey, verify, type JsonWebKey, type KeyObject } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { parse as parseYaml } from 'yaml';
import { startServer } from './http-server.ts';
import type { Scope } from './processes.ts';

/** The options of its prehook `jwt`. */
export interface ChihayaJwt {
  readonly issuer: string;
  readonly audience: string;
  readonly jwkSetUrl: string;
}

/** What it listens on, and whom it believes. */
export interface ChihayaHttp {
  readonly https: boolean;
  /** In lower case; believed from anybody. */
  readonly realIpHeader: string | undefined;
}

export interface Chihaya {
  /** `http://127.0.0.1:PORT/announce` */
  readonly announce: string;
  /** As a start: the key set must be there. It is fetched once, and its status is not looked at. */
  configure(jwt: ChihayaJwt): Promise<void>;
  /** The set is fetched again, as on its interval. */
  refresh(): Promise<void>;
}

interface ChihayaFile {
  readonly chihaya: {
    readonly metrics_addr?: string;
    readonly http: {
      readonly addr?: string;
      readonly https_addr?: string;
      readonly tls_cert_path?: string;
      readonly tls_key_path?: string;
      readonly real_ip_header?: string;
      readonly announce_routes?: readonly string[];
      readonly scrape_routes?: readonly string[];
    };
    readonly storage: { readonly name: string; readonly config: Readonly<Record<string, string>> };
    readonly prehooks: readonly {
      readonly name: string;
      readonly options: Readonly<Record<string, string>>;
    }[];
  };
}

/**
 * Reads a configuration file.
 * @throws Error with its words where it does not start, and with ours where it starts and is of no use or open
 */
export function readChihayaConfig(yaml: string): ChihayaJwt & ChihayaHttp {
  const { http, metrics_addr, storage, prehooks } = (parseYaml(yaml) as ChihayaFile).chihaya;
  if (!http.announce_routes?.length || !http.scrape_routes?.length) throw new Error('must specify routes');
  if (http.addr === undefined)
    throw new Error('starts, and listens to nobody: https_addr alone is not looked at');
  if (http.https_addr !== undefined && !(http.tls_cert_path && http.tls_key_path))
    throw new Error('no certificate');
  if (metrics_addr === undefined) throw new Error('starts, and shows /debug/pprof to everybody on port 80');
  if (storage.name === 'redis' && storage.config['redis_broker'] === undefined) {
    throw new Error('starts, and Redis says: ERR AUTH <password> called without any password');
  }
  const {
    issuer = '',
    audience = '',
    jwk_set_url = '',
  } = prehooks.find(({ name }) => name === 'jwt')?.options ?? {};
  return {
    issuer,
    audience,
    jwkSetUrl: jwk_set_url,
    https: http.https_addr !== undefined,
    realIpHeader: http.real_ip_header?.toLowerCase(),
  };
}

interface Peer {
  readonly compact: Buffer;
  readonly isSeed: boolean;
}

const INTERVAL = 120;
const MIN_INTERVAL = 5;

export async function startChihaya(
  scope: Scope,
  { realIpHeader }: Partial<ChihayaHttp> = {},
): Promise<Chihaya> {
  let settings: ChihayaJwt | undefined;
  let keys = new Map<string, KeyObject>();
  const swarms = new Map<string, Map<string, Peer>>();

  const refresh = async (): Promise<void> => {
    const set = (await (await fetch(settings?.jwkSetUrl ?? '')).json()) as {
      keys: (JsonWebKey & { kid: string })[];
    };
    keys = new Map(set.keys.map((key) => [key.kid, createPublicKey({ key, format: 'jwk' })]));
  };

  /** As validateJWT does (middleware/jwt/jwt.go): no look at `exp`. */
  const isValid = (token: string, infoHash: string): boolean => {
    const [head = '', body = '', signature = ''] = token.split('.');
    const { alg, kid = '' } = parse(head);
    const claims = parse(body);
    const key = keys.get(kid);
    if (claims['iss'] !== settings?.issuer || claims['aud'] !== settings?.audience) return false;
    if (claims['infohash'] !== infoHash || key === undefined || alg !== 'RS256') return false;
    return verify('RSA-SHA256', Buffer.from(`${head}.${body}`), key, Buffer.from(signature, 'base64url'));
  };

  const announced = (parameters: ReadonlyMap<string, string>, infoHash: string, address: string): Buffer => {
    const swarm = swarms.get(infoHash) ?? new Map<string, Peer>();
    swarms.set(infoHash, swarm);
    const id = parameters.get('peer_id') ?? '';
    const port = Number(parameters.get('port'));
    const isSeed = parameters.get('left') === '0';
    const own = { compact: Buffer.of(...address.split('.').map(Number), port >> 8, port & 255), isSeed };
    if (parameters.get('event') === 'stopped') swarm.delete(id);
    else swarm.set(id, own);
    const others = [...swarm].filter(([other]) => other !== id).map(([, peer]) => peer);
    // Seeds come first, and are of no use to each other.
    const wanted = [
      ...(isSeed ? [] : others.filter((peer) => peer.isSeed)),
      ...others.filter((peer) => !peer.isSeed),
    ];
    const peers = (wanted.length > 0 ? wanted : [own]).slice(0, Number(parameters.get('numwant') ?? 50));
    const count = [...swarm.values()].filter((peer) => peer.isSeed).length;
    return disorderly({
      complete: count,
      incomplete: swarm.size - count,
      interval: INTERVAL,
      'min interval': MIN_INTERVAL,
      ...(peers.length > 0 ? { peers: Buffer.concat(peers.map(({ compact }) => compact)) } : {}),
    });
  };

  const server = await startServer(scope, (request, response) => {
    const [, query = ''] = (request.url ?? '').split('?');
    const parameters = new Map(query.split('&').map((pair) => pair.split('=', 2) as [string, string]));
    const infoHash = percentDecoded(parameters.get('info_hash') ?? '').toString('hex');
    const token = parameters.get('jwt');
    const fail = (reason: string): void => void response.end(disorderly({ 'failure reason': reason }));
    if (token === undefined) return fail('unapproved request: missing jwt');
    if (!isValid(token, infoHash)) return fail('unapproved request: invalid jwt');
    response.end(announced(parameters, infoHash, addressOf(request, realIpHeader)));
  });

  return {
    announce: `${server.url}/announce`,
    configure: async (jwt) => {
      settings = jwt;
      await refresh().catch((cause: unknown) => {
        throw new Error('failed to fetch initial JWK Set', { cause });
      });
    },
    refresh,
  };
}

function addressOf(request: IncomingMessage, realIpHeader: string | undefined): string {
  const told = realIpHeader === undefined ? undefined : request.headers[realIpHeader];
  return String(told ?? request.socket.remoteAddress).replace('::ffff:', '');
}

/** Bencode as Chihaya writes it, from a Go map: its keys come in any order, another one each time. */
function disorderly(values: Readonly<Record<string, number | string | Buffer>>): Buffer {
  const pairs = Object.entries(values)
    .map((pair) => ({ pair, place: Math.random() }))
    .toSorted((one, other) => one.place - other.place)
    .map(({ pair: [key, value] }) =>
      Buffer.concat([text(key), typeof value === 'number' ? integer(value) : text(value)]),
    );
  return Buffer.concat([Buffer.from('d'), ...pairs, Buffer.from('e')]);
}

function text(value: string | Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${Buffer.byteLength(value)}:`), Buffer.from(value)]);
}

function integer(value: number): Buffer {
  return Buffer.from(`i${value}e`);
}

function parse(part: string): Record<string, string> {
  try {
    return JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, string>;
  } catch {
    return {};
  }
}

function percentDecoded(encoded: string): Buffer {
  const bytes = encoded.replaceAll(/%([0-9a-fA-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, 'latin1');
}
