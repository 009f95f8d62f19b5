import { QuayctlError } from '../../base/errors.ts';
import { shortName, type Metainfo } from '../../metainfo/metainfo.ts';
import type { TorrentState } from '../peers/torrent-state.ts';
import type { RegistrySeed } from './registry-seed.ts';

/** After the registry is lost, how long a piece that no peer has is waited for. Milliseconds. */
const AFTER_REGISTRY_MS = 5000;
/**
 * How long a pull without a registry (`--skip-web-seed`) waits for a peer that has what is missing, unless
 * `--wait-for-peers` says otherwise.
 */
const DEFAULT_WAIT_FOR_PEERS_MS = 30_000;

/** Whether there still is a way to each missing piece, and since when there has not been. */
export class Reachability {
  readonly #state: TorrentState;
  readonly #registry: RegistrySeed | undefined;
  readonly #waitForPeersMs: number;
  #waitingSince = performance.now();

  constructor(
    state: TorrentState,
    registry: RegistrySeed | undefined,
    waitForPeersMs: number = DEFAULT_WAIT_FOR_PEERS_MS,
  ) {
    this.#state = state;
    this.#registry = registry;
    this.#waitForPeersMs = waitForPeersMs;
    for (const event of ['pieceVerified', 'registryLost'] as const) state.on(event, () => this.restart());
  }

  /** There was a way a moment ago: the time to wait begins now. */
  restart(): void {
    this.#waitingSince = performance.now();
  }

  /**
   * For torrents whose registry is not (or no longer) asked.
   * @returns how many pieces no peer has, and the error once they have been waited for long enough
   */
  look(now: number): { readonly missing: number; readonly error?: unknown } {
    const lost = this.#registry?.lost;
    if (this.#registry !== undefined && lost === undefined) return { missing: 0 };
    const missing = this.#state.countUnreachable();
    if (missing === 0) this.restart();
    const wait = this.#registry === undefined ? this.#waitForPeersMs : AFTER_REGISTRY_MS;
    if (now - this.#waitingSince < wait) return { missing };
    return { missing, error: lost ?? nobodyHas(this.#state.metainfo, missing) };
  }
}

function nobodyHas(metainfo: Metainfo, missing: number): QuayctlError {
  const what = `${shortName(metainfo)}: no peer has ${missing} of its ${metainfo.geometry.pieceCount} pieces`;
  return new QuayctlError('no-peers', what, {
    hint: 'without --skip-web-seed they would come from the registry',
  });
}
