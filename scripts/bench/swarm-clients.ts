import { join } from 'node:path';

/** What a client is told: one blob, everything needed to get it. */
export interface Task {
  /** `HOST:PORT/REPOSITORY:TAG` */
  readonly image: string;
  readonly service: string;
  /** The .torrent, with tracker and web seed. */
  readonly torrent: string;
  readonly blobUrl: string;
  /** The bundle's program. */
  readonly quayctl: string;
  /** An empty folder of this node's own. */
  readonly directory: string;
  readonly address: string;
}

/** A command that ends when the blob is complete, without seeding. */
export type Client = (task: Task) => [program: string, args: string[]];

const WEBTORRENT = join(import.meta.dirname, 'swarm-webtorrent.mjs');
const LIBTORRENT = join(import.meta.dirname, 'swarm-libtorrent.py');

export const CLIENTS: Readonly<Record<string, Client>> = {
  quayctl: ({ quayctl, image, service, directory }) => [
    process.execPath,
    [
      ...[quayctl, 'torrent', 'pull', image, '--insecure', '--torrent-service', service],
      ...['--store', join(directory, 'store'), '--no-progress', '--json'],
    ],
  ],
  aria2: ({ torrent, directory }) => [
    'aria2c',
    [
      ...['--dir', directory, '--seed-time=0', '--enable-dht=false', '--bt-enable-lpd=false'],
      ...['--enable-peer-exchange=false', '--file-allocation=none', '--summary-interval=0', '--quiet'],
      torrent,
    ],
  ],
  // Debian's python sees Debian's libtorrent; another python first on the PATH may not.
  libtorrent: ({ torrent, directory, address }) => [
    '/usr/bin/python3',
    [LIBTORRENT, torrent, directory, address],
  ],
  webtorrent: ({ torrent, directory }) => [process.execPath, [WEBTORRENT, torrent, directory]],
  direct: ({ blobUrl, directory }) => ['curl', ['-sSf', '-o', join(directory, 'blob'), blobUrl]],
};
