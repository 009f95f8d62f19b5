import type { IncomingMessage, ServerResponse } from 'node:http';
import { digestOf } from '../../src/image/digest.ts';
import { buildInfo, encodeTorrent } from '../../src/metainfo/metainfo.ts';
import { PieceHasher } from '../../src/metainfo/piece-hasher.ts';
import { pieceGeometry } from '../../src/metainfo/geometry.ts';
import type { BuiltAci } from './aci.ts';
import { makeAuthority, type TestAuthority } from './certificate.ts';
import { hostsLauncher, someLoopback } from './hosts.ts';
import { startServer } from './http-server.ts';
import type { Scope } from './processes.ts';

export interface SignedAci extends BuiltAci {
  readonly signature: Buffer;
  /** Of these bytes the torrent is, in place of the image's own. */
  readonly torrentOf?: Buffer;
}

/** What a web server of someone's answers, by `HOST/PATH`: a page, or an ACI with its torrent and signature. */
export type Site = Readonly<Record<string, string | SignedAci>>;

/** Web servers with names, on ports 443 and 80, for programs that are started by `launcher`. */
export interface AciHost {
  readonly launcher: readonly string[];
  readonly authority: TestAuthority;
  /** `https://HOST/PATH` of each request since the last look, `!` before those that carried Authorization. */
  requests(): string[];
}

const TORRENT = 'application/x-bittorrent';

/** @param plain names of hosts that speak plain HTTP alone; all others end in `.rkt.test` and speak both */
export async function startAciHost(
  scope: Scope,
  site: Site,
  { names, plain }: { readonly names: readonly string[]; readonly plain: readonly string[] },
): Promise<AciHost> {
  const authority = await makeAuthority(scope);
  const certificate = await authority.issue(['DNS:*.rkt.test']);
  let seen: string[] = [];
  const serve =
    (scheme: string) =>
    (request: IncomingMessage, response: ServerResponse): void => {
      const [path = ''] = (request.url ?? '').replace(/\/$/, '').split('?');
      const place = `${request.headers.host ?? ''}${path}`.replace(/\/$/, '');
      seen.push(`${request.headers.authorization === undefined ? '' : '!'}${scheme}://${place}`);
      answer(site, place, request, response);
    };
  const [address, plainAddress] = [someLoopback(), someLoopback()];
  await startServer(scope, serve('https'), certificate, { address, port: 443 });
  await startServer(scope, serve('http'), undefined, { address, port: 80 });
  await startServer(scope, serve('http'), undefined, { address: plainAddress, port: 80 });
  const launcher = await hostsLauncher(scope, {
    ...Object.fromEntries(names.map((name) => [name, address])),
    ...Object.fromEntries(plain.map((name) => [name, plainAddress])),
  });
  return {
    launcher,
    authority,
    requests: () => {
      const all = seen;
      seen = [];
      return all;
    },
  };
}

function answer(site: Site, place: string, request: IncomingMessage, response: ServerResponse): void {
  const found = site[place] ?? site[place.replace(/\.asc$/, '')];
  if (found === undefined) return void response.writeHead(404).end();
  if (typeof found === 'string') return void response.writeHead(200).end(found);
  if (place.endsWith('.asc')) return void response.writeHead(200).end(found.signature);
  if (request.headers.accept !== TORRENT) return void response.writeHead(200).end(found.bytes);
  response.writeHead(200, { 'content-type': TORRENT }).end(torrentOf(found));
}

function torrentOf({ bytes: own, torrentOf: other, imageId }: SignedAci): Uint8Array {
  const bytes = other ?? own;
  const hasher = new PieceHasher(pieceGeometry(bytes.length));
  hasher.update(bytes);
  const { pieces } = hasher.finish();
  const info = buildInfo({ name: '0'.repeat(64), length: bytes.length, pieces });
  return encodeTorrent(info, { announce: ['http://127.0.0.1:9/announce'], digest: digestOf(bytes), imageId });
}
