import { join } from 'node:path';
import { blobPath, INDEX_FILE, LAYOUT_FILE } from '../image/layout.ts';
import { digestHex, type Digest } from '../image/digest.ts';

/** Where everything lies: an OCI image layout, and beside it, in `quayctl/`, what only quayctl reads. */
export class StorePaths {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  get layout(): string {
    return join(this.root, LAYOUT_FILE);
  }
  get index(): string {
    return join(this.root, INDEX_FILE);
  }
  get blobs(): string {
    return join(this.root, 'blobs', 'sha256');
  }
  get version(): string {
    return this.own('version');
  }
  /** The last index that we wrote, for the day that index.json is damaged. */
  get indexCopy(): string {
    return this.own('index.json');
  }
  get limit(): string {
    return this.own('limit');
  }
  get reserve(): string {
    return this.own('reserve');
  }

  /** A file or directory in `quayctl/`. */
  own(...names: string[]): string {
    return join(this.root, 'quayctl', ...names);
  }

  blob(digest: Digest): string {
    return join(this.root, blobPath(digest));
  }

  partial(digest: Digest): string {
    return this.own('partial', digestHex(digest));
  }

  /** The record of the spans of a partial blob. */
  journal(digest: Digest): string {
    return `${this.partial(digest)}.spans`;
  }
}

/** The directories of `quayctl/`. */
export const OWN_DIRECTORIES = [
  'partial',
  'torrents',
  'services',
  'hosts',
  'leases',
  'locks',
  'tmp',
] as const;
