// A stand-in for a registry: no real one can be made to serve what is tried with it.
import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { encodeBencode } from '../../src/metainfo/bencode.ts';
import { startServer, type TestServer } from './http-server.ts';
import type { Scope } from './processes.ts';

export const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const LAYER = 'application/vnd.oci.image.layer.v1.tar';
const CONFIG = 'application/vnd.oci.image.config.v1+json';
interface Blob {
  readonly bytes: Buffer;
  readonly digest: string;
}

export type Answer = (response: ServerResponse) => void;

/** What the registry answers for the manifest, for blobs, and as a torrent service; default: as it should. */
export interface Hostility {
  readonly manifest?: Answer | Buffer;
  readonly blob?: (response: ServerResponse, blob: Blob | undefined) => void;
  readonly torrent?: Answer;
  /** What quayctl is asked for behind `HOST/team/app`. */
  readonly selector?: string;
}

const blobOf = (bytes: Buffer): Blob => ({
  bytes,
  digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}`,
});
export const layer = blobOf(Buffer.alloc(1_500_000, 'layer'));
const config = blobOf(Buffer.from(`{"rootfs":{"type":"layers","diff_ids":["${layer.digest}"]}}`));
export const descriptor = ({ bytes, digest }: Blob, mediaType: string) => ({
  mediaType,
  digest,
  size: bytes.length,
});
export const manifest = (layers: readonly object[], change: object = {}): Buffer =>
  Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: descriptor(config, CONFIG),
      layers,
      ...change,
    }),
  );
export const good = manifest([descriptor(layer, LAYER)]);

/** Without an end, or until the other side has had enough. */
export function pour(response: ServerResponse, chunk: Buffer, count = Infinity): void {
  let left = count;
  const more = (): void => {
    while (left-- > 0 && !response.destroyed && response.write(chunk));
    if (left <= 0) response.end();
  };
  response.on('drain', more);
  more();
}

export function startHostile(scope: Scope, hostility: Hostility): Promise<TestServer> {
  return startServer(scope, (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://x');
    if (pathname === '/v2/') return void response.end('{}');
    if (pathname.startsWith('/c1/')) {
      if (hostility.torrent === undefined) return void response.writeHead(404).end();
      response.setHeader('quay-torrent', '1');
      return hostility.torrent(response);
    }
    if (pathname.includes('/manifests/')) {
      const { manifest: answer = good } = hostility;
      if (!Buffer.isBuffer(answer)) return answer(response);
      return void response.writeHead(200, { 'content-type': MANIFEST }).end(answer);
    }
    const blob = [layer, config].find(({ digest }) => pathname.endsWith(digest));
    if (hostility.blob !== undefined) return hostility.blob(response, blob);
    if (blob === undefined) return void response.writeHead(404).end();
    response.end(blob.bytes);
  });
}

/** A torrent of the image's layer, but for what is changed. */
export const torrent = (info: object): Answer => {
  const bytes = encodeBencode({
    announce: 'http://127.0.0.1:1/announce',
    info: {
      length: layer.bytes.length,
      name: 'a'.repeat(64),
      'piece length': 524_288,
      pieces: Buffer.alloc(60),
      private: 1,
      ...info,
    },
  });
  return (response) =>
    void response.writeHead(200, { 'content-type': 'application/x-bittorrent' }).end(bytes);
};

/** A byte at a time. */
export function drip(response: ServerResponse, bytes: Buffer): void {
  response.writeHead(200, { 'content-type': MANIFEST, 'content-length': bytes.length });
  let at = 0;
  const timer = setInterval(() => response.write(bytes.subarray(at, ++at)), 500);
  response.on('close', () => clearInterval(timer));
}
