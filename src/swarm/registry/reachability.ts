import { QuayctlError } from '../../base/errors.ts';
import { shortName, type Metainfo } from '../../metainfo/metainfo.ts';
import type { RegistrySeed } from './registry-seed.ts';
import type { JoinOptions } from '../swarm-client.ts';

/** The registry is gone and nobody has a piece: peers are waited for so long. Milliseconds. */
const AFTER_REGISTRY_MS = 5000;
const DEFAULT_WAIT_FOR_PEERS_MS = 30_000;

export interface PathView {
  readonly has: (index: number) => boolean;
  /** Some connected peer has it. */
  readonly held: (index: number) => boolean;
  readonly registry: RegistrySeed | undefined;
}

/** Whether there still is a way to each missing piece, and since when there has not been. */
export class Reachability {
  readonly #options: Pick<JoinOptions, 'metainfo' | 'registry' | 'waitForPeersMs'>;
  readonly #view: PathView;
  #movedAt = performance.now();

  constructor(options: Pick<JoinOptions, 'metainfo' | 'registry' | 'waitForPeersMs'>, view: PathView) {
    this.#options = options;
    this.#view = view;
  }

  /** Something verified, or another path ended a moment ago: from now on is waited. */
  moved(): void {
    this.#movedAt = performance.now();
  }

  /**
   * The registry is not (or no longer) asked, and nobody has some piece.
   * @returns for how many pieces that is so; the error, once they have been waited for long enough
   */
  look(now: number): { readonly missing: number; readonly error?: unknown } {
    const { metainfo, registry, waitForPeersMs = DEFAULT_WAIT_FOR_PEERS_MS } = this.#options;
    const lost = this.#view.registry?.lost;
    if (registry !== undefined && lost === undefined) return { missing: 0 };
    const missing = this.#missing(metainfo.geometry.pieceCount);
    if (missing === 0) this.moved();
    const wait = registry === undefined ? waitForPeersMs : AFTER_REGISTRY_MS;
    if (now - this.#movedAt < wait) return { missing };
    return { missing, error: lost ?? nobodyHas(metainfo, missing) };
  }

  #missing(pieceCount: number): number {
    let missing = 0;
    for (let index = 0; index < pieceCount; index++) {
      if (!this.#view.has(index) && !this.#view.held(index)) missing++;
    }
    return missing;
  }
}

function nobodyHas(metainfo: Metainfo, missing: number): QuayctlError {
  const what = `${shortName(metainfo)}: nobody has ${missing} of its ${metainfo.geometry.pieceCount} pieces`;
  return new QuayctlError('no-peers', what, {
    hint: 'without --skip-web-seed they would come from the registry',
  });
}
