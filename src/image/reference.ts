import type { Digest } from './digest.ts';

/**
 * A Docker image reference, normalised: `ubuntu` is docker.io/library/ubuntu:latest.
 * Grammar: distribution/reference (`reference.go`, `regexp.go`, `normalize.go`).
 */
export interface ImageReference {
  /** Registry host as users know it, port included: `docker.io`, `quay.io`, `localhost:5000`, `[::1]:5000`. */
  readonly registry: string;
  /** `library/ubuntu`, `team/app`. */
  readonly repository: string;
  /** Absent only when a digest was given without a tag. */
  readonly tag?: string;
  readonly digest?: Digest;
}
