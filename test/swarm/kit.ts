import { createHash, randomBytes } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { Server } from 'bittorrent-tracker';
import { Http } from '../../src/http/http.ts';
import { buildInfo, decodeTorrent, encodeTorrent, type Metainfo } from '../../src/metainfo/metainfo.ts';
import { pieceGeometry } from '../../src/metainfo/geometry.ts';
import { openSwarmClient } from '../../src/swarm/open-swarm-client.ts';
import type {
  PieceStorage,
  RangeSource,
  SwarmClient,
  SwarmClientOptions,
} from '../../src/swarm/swarm-client.ts';
import type { Scope } from '../helpers/processes.ts';

/** A blob with its torrent, as a service would make it. */
export interface Sample {
  readonly content: Buffer;
  readonly torrent: Uint8Array;
  readonly metainfo: Metainfo;
}

export function sample(size: number, announce: readonly string[]): Sample {
  const content = randomBytes(size);
  const { pieceLength } = pieceGeometry(size);
  const hashes: Buffer[] = [];
  for (let at = 0; at < size; at += pieceLength) {
    hashes.push(
      createHash('sha1')
        .update(content.subarray(at, at + pieceLength))
        .digest(),
    );
  }
  const name = randomBytes(32).toString('hex');
  const info = buildInfo({ name, length: size, pieces: Buffer.concat(hashes) });
  const torrent = encodeTorrent(info, { announce });
  return { content, torrent, metainfo: decodeTorrent(torrent) };
}

/** A partial blob in memory. */
export interface MemoryStorage extends PieceStorage {
  readonly bytes: Buffer;
  readonly reads: { offset: number; length: number }[];
}

export function emptyStorage(size: number): MemoryStorage {
  const bytes = Buffer.alloc(size);
  const written = new Set<number>();
  const reads: { offset: number; length: number }[] = [];
  const grain = 2 ** 14;
  return {
    size,
    bytes,
    reads,
    async read(offset, length) {
      reads.push({ offset, length });
      return Buffer.from(bytes.subarray(offset, offset + length));
    },
    async write(offset, data) {
      bytes.set(data, offset);
      for (let at = offset; at < offset + data.length; at += grain) written.add(Math.floor(at / grain));
    },
    has(start, end) {
      for (let at = start; at < end; at += grain) if (!written.has(Math.floor(at / grain))) return false;
      return true;
    },
  };
}

/** A committed blob. */
export function fullStorage(content: Buffer): MemoryStorage {
  const reads: { offset: number; length: number }[] = [];
  return {
    size: content.length,
    bytes: content,
    reads,
    async read(offset, length) {
      reads.push({ offset, length });
      return Buffer.from(content.subarray(offset, offset + length));
    },
  };
}

/** A registry: counts what it gives; `rate` in bytes per second is shared by all who ask. */
export interface CountedSource {
  readonly source: RangeSource;
  given: number;
  requests: { start: number; end: number }[];
}

export function countedSource(
  content: Buffer,
  take: (bytes: number, signal: AbortSignal) => Promise<void> = async () => {},
): CountedSource {
  const counted: CountedSource = {
    given: 0,
    requests: [],
    async *source(start, end, signal) {
      counted.requests.push({ start, end });
      for (let at = start; at < end; at += 65536) {
        signal.throwIfAborted();
        const chunk = content.subarray(at, Math.min(at + 65536, end));
        await take(chunk.length, signal);
        counted.given += chunk.length;
        yield chunk;
      }
    },
  };
  return counted;
}

/** An HTTP tracker on a port of the kernel's choice. */
export async function startTracker(
  scope: Scope,
  options: Partial<ConstructorParameters<typeof Server>[0]> = {},
): Promise<{ url: string; server: Server }> {
  const server = new Server({ udp: false, ws: false, stats: false, ...options });
  server.on('warning', () => {});
  await new Promise<void>((resolve) => {
    // The UDP server binds both families, which one address cannot.
    if (options.udp === true) server.listen(0, resolve);
    else server.listen(0, '127.0.0.1', resolve);
  });
  scope.after(() => new Promise<void>((resolve) => server.close(() => resolve())));
  const { port } = server.http.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/announce`, server };
}

/** A node of ours, closed with the test; its port is the kernel's choice. */
export function node(scope: Scope, options: Partial<SwarmClientOptions> = {}): SwarmClient {
  const http = new Http({ env: {}, certsDirectory: '/nonexistent' });
  const client = openSwarmClient({ http, lowerPort: 0, upperPort: 0, ...options });
  scope.after(async () => {
    await client.close();
    await http.close();
  });
  return client;
}
