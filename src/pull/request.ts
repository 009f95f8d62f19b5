import type { Platform } from '../image/platform.ts';
import type { ImageReference } from '../image/reference.ts';
import type { Gate } from './gate.ts';
import type { Receipt } from './receipt.ts';
import type { PullRules } from './pull-context.ts';

/** Where the image is to go; for `engine` the PullContext has one. */
export type Destination =
  | { readonly kind: 'engine' }
  | { readonly kind: 'store' }
  /** An OCI image layout, added to where it exists. */
  | { readonly kind: 'layout'; readonly path: string }
  /** An OCI archive, replaced atomically. */
  | { readonly kind: 'archive'; readonly path: string };

/** One pull (or a seed, which is a pull into the store that goes on seeding), as the user asked for it. */
export interface PullRequest {
  readonly reference: ImageReference;
  /** `--platform`; else the engine's, else `hostPlatform`. */
  readonly platform?: Platform;
  readonly hostPlatform: Platform;
  readonly destination: Destination;
  readonly recordDigest: boolean;
  readonly rules: PullRules;
  /** `--max-severity`: asked before anything is delivered. */
  readonly gate?: Gate | undefined;
  /** Called when the image is where it was to go, before any seeding. */
  readonly onReceipt: (receipt: Receipt) => void | Promise<void>;
  /** Milliseconds of seeding afterwards; undefined: until the signal; 0: none. */
  readonly seedMs: number | undefined;
}
