import type { RequestEvent } from '../http-server/router.ts';
import type { Digest } from '../image/digest.ts';

/** What happens in the service, for one-line logs. Holds no secret: paths come without their query. */
export type ServeEvent =
  | { readonly kind: 'listening'; readonly url: string; readonly upstream: string; readonly admin?: string }
  | RequestEvent
  | { readonly kind: 'hashing'; readonly digest: Digest; readonly size: number }
  | { readonly kind: 'hashed'; readonly digest: Digest; readonly size: number; readonly seconds: number }
  | { readonly kind: 'hashing-failed'; readonly digest: Digest; readonly reason: string }
  /** A blob was given without asking the upstream for its bytes: from the cache, or from a reading that is under way. */
  | { readonly kind: 'blob-given'; readonly from: 'cache' | 'reading' }
  /** A derived image (squashed, ACI) is being made of the image with that manifest. */
  | { readonly kind: 'deriving'; readonly what: string; readonly repository: string; readonly digest: Digest }
  | {
      readonly kind: 'derived';
      readonly what: string;
      readonly repository: string;
      readonly digest: Digest;
      readonly size: number;
      readonly seconds: number;
    }
  /** The key that signs ACIs is in use: operators compare what `rkt trust` shows with this. */
  | { readonly kind: 'aci-key'; readonly fingerprint: string }
  | { readonly kind: 'deriving-failed'; readonly digest: Digest; readonly reason: string }
  /** Clair's report of an image. */
  | {
      readonly kind: 'reported';
      readonly repository: string;
      readonly digest: Digest;
      readonly vulnerabilities: number;
      readonly seconds: number;
    }
  | {
      readonly kind: 'report-failed';
      readonly repository: string;
      readonly digest: Digest;
      readonly reason: string;
    }
  /** The operator's webhook has taken what changed in a report. */
  | {
      readonly kind: 'notified';
      readonly repository: string;
      readonly digest: Digest;
      readonly changes: number;
    }
  | {
      readonly kind: 'notify-failed';
      readonly repository: string;
      readonly digest: Digest;
      readonly reason: string;
    }
  /** An announce to the embedded tracker. */
  | { readonly kind: 'announced'; readonly outcome: 'accepted' | 'refused' | 'limited' }
  | { readonly kind: 'warning'; readonly message: string }
  /** The certificate and the secret file were read again. */
  | { readonly kind: 'reloaded' }
  | { readonly kind: 'stopped' };

export type ServeListener = (event: ServeEvent) => void;
