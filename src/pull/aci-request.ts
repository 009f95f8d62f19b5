import type { AciEngine } from '../engines/engine.ts';
import type { AppcName } from '../image/appc-name.ts';
import type { AciSource } from '../registry/aci-source.ts';
import type { PullRequest } from './request.ts';
import type { FetchWorld } from './world.ts';

/** One pull of an ACI, or a seed, as the user asked for it. */
export interface AciRequest extends Pick<
  PullRequest,
  'platform' | 'hostPlatform' | 'rules' | 'onReceipt' | 'seedMs'
> {
  readonly name: AppcName;
  /** `store` for a seed: nothing is put into rkt. */
  readonly destination: 'engine' | 'store';
  /** False where the user told rkt not to check it. */
  readonly withSignature: boolean;
}

/** The worlds of an ACI. Where it lies is known once it was looked up. */
export interface AciWorld extends Omit<FetchWorld, 'repository' | 'torrents'> {
  readonly engine: AciEngine;
  /** @throws QuayctlError `not-found`, `unauthorized`, `unreachable`, ... */
  readonly locate: (name: AppcName, signal: AbortSignal) => Promise<AciSource>;
}
