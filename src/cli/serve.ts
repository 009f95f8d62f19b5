import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { QuayctlError } from '../base/errors.ts';
import { Http } from '../base/http.ts';
import { parseDuration } from '../base/units.ts';
import { startTorrentService, type ServeEvent } from '../serve/torrent-service.ts';
import { named } from './flags.ts';
import { CERTS_DIRECTORY } from './paths.ts';
import { serveLine } from './serve-log.ts';
import { xdgDirectory, type Session } from './session.ts';

/** `quayctl serve`'s flags as commander hands them over. */
export interface RawServeFlags {
  readonly upstream: string;
  readonly listen: string;
  readonly publicUrl?: string;
  readonly announce?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly data?: string;
  readonly tokenTtl: string;
  readonly insecure?: boolean;
  readonly secretFile?: string;
  readonly alias?: readonly string[];
  readonly debug?: boolean;
}

/** Serves until a signal ends it; that is its good end. @throws QuayctlError `usage`, `port`, `store`, ... */
export async function runServe(flags: RawServeFlags, session: Session): Promise<void> {
  const { terminal, signal } = session;
  const http = new Http({ env: session.env, certsDirectory: CERTS_DIRECTORY });
  const listener = (event: ServeEvent): void => {
    const line = serveLine(event, flags.debug ?? false);
    if (line !== undefined) terminal.err(`${line}\n`);
  };
  try {
    const service = await startTorrentService({
      upstream: flags.upstream,
      listen: hostAndPort(flags.listen),
      publicUrl: flags.publicUrl,
      announce: flags.announce,
      tls: await keyPair(flags),
      dataDirectory: resolve(flags.data ?? xdgDirectory(session, 'XDG_DATA_HOME', '.local/share')),
      secretFile: flags.secretFile === undefined ? undefined : resolve(flags.secretFile),
      tokenTtlSeconds: named('--token-ttl', flags.tokenTtl, parseDuration) / 1000,
      insecure: flags.insecure,
      aliases: flags.alias,
      listener,
      http,
    });
    terminal.out(`${service.publicUrl}\n`);
    if (!signal.aborted) {
      await new Promise((end) => {
        signal.addEventListener('abort', end, { once: true });
      });
    }
    await service.close();
  } finally {
    await http.close();
  }
}

function hostAndPort(listen: string): { host: string; port: number } {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:]*)):(\d{1,5})$/.exec(listen) ?? [];
  const number = Number(port);
  if (!(number <= 65_535)) {
    throw new QuayctlError('usage', `--listen: HOST:PORT is wanted, not ${JSON.stringify(listen)}`);
  }
  return { host: bracketed ?? plain ?? '', port: number };
}

async function keyPair({
  tlsCert,
  tlsKey,
}: RawServeFlags): Promise<{ cert: Buffer; key: Buffer } | undefined> {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new QuayctlError('usage', '--tls-cert and --tls-key belong together');
  }
  const read = (flag: string, path: string): Promise<Buffer> =>
    readFile(path).catch((cause: unknown) => {
      throw new QuayctlError('usage', `${flag}: cannot read ${path}`, { cause });
    });
  return { cert: await read('--tls-cert', tlsCert), key: await read('--tls-key', tlsKey) };
}
