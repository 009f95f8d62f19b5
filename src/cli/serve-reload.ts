import { stat } from 'node:fs/promises';
import { isQuayctlError } from '../base/errors.ts';
import type { TorrentService, TorrentServiceOptions } from '../serve/torrent-service.ts';

/** How often the files are looked at. Milliseconds. */
const LOOK_EVERY_MS = 10_000;

interface ReloadOptions {
  /** Files whose change is noticed without a signal. */
  readonly files: readonly string[];
  /** Reads certificate and key. */
  readonly tls: () => Promise<TorrentServiceOptions['tls']>;
  /** Told when what is there now cannot be used; what was there before stays in use. */
  readonly onFailure: (message: string) => void;
  /** Adds a handler for SIGHUP. @returns takes it away */
  readonly onHangup: (handler: () => void) => () => void;
}

/**
 * Lets a running service take up new certificates and secrets: at SIGHUP (`systemctl reload`), and soon after the
 * certificate's files have changed. @returns ends it
 */
export function followFiles(service: Pick<TorrentService, 'reload'>, options: ReloadOptions): () => void {
  const { files, tls, onFailure, onHangup } = options;
  let last = Promise.resolve();
  const reload = (): void => {
    last = last.then(async () => {
      try {
        await service.reload(await tls());
      } catch (error) {
        const reason = isQuayctlError(error) ? error.message : String(error);
        onFailure(`not reloaded: ${reason}; what was read before is still in use`);
      }
    });
  };
  let stamp: string | undefined;
  const look = async (): Promise<void> => {
    const now = (await Promise.all(files.map(stampOf))).join();
    if (stamp !== undefined && now !== stamp) reload();
    stamp = now;
  };
  void look();
  const timer = setInterval(() => void look(), LOOK_EVERY_MS).unref();
  const forget = onHangup(reload);
  return () => {
    clearInterval(timer);
    forget();
  };
}

/** Changes when somebody has written the file, or put another in its place. */
async function stampOf(path: string): Promise<string> {
  const found = await stat(path).catch(() => undefined);
  return found === undefined ? 'none' : `${found.mtimeMs} ${found.size} ${found.ino}`;
}
