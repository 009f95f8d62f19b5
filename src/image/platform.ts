/** An entry of an image index is chosen by this (OCI image-spec, image-index.md, `platform`). Go's names. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
  readonly osVersion?: string;
}
