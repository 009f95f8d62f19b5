import type { AciEngine } from '../engines/engine.ts';
import type { AppcName } from '../image/appc-name.ts';
import type { AciSource } from '../registry/aci-source.ts';
import type { SharedServices } from './pull-context.ts';
import type { PullRequest } from './request.ts';

/** One pull of an ACI, or a seed, as the user asked for it. */
export interface AciRequest extends Pick<
  PullRequest,
  'platform' | 'hostPlatform' | 'rules' | 'gate' | 'onReceipt' | 'seedMs'
> {
  readonly name: AppcName;
  /** `store` for a seed: nothing is put into rkt. */
  readonly destination: 'engine' | 'store';
  /** False where the user told rkt not to check it. */
  readonly withSignature: boolean;
}

/** What a pull of an ACI works with. Where the image lies is only known once it was looked up. */
export interface AciContext extends SharedServices {
  readonly engine: AciEngine;
  /** @throws QuayctlError `not-found`, `unauthorized`, `unreachable`, ... */
  readonly locate: (name: AppcName, signal: AbortSignal) => Promise<AciSource>;
}
