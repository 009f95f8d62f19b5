import { createHash } from 'node:crypto';
import { QuayctlError } from '../base/errors.ts';
import { digestHex, type Digest } from '../image/digest.ts';
import { optionalText, parseJsonObject } from '../image/json.ts';
import { repositoryName, type ImageReference } from '../image/reference.ts';
import { decodeTorrent, MAX_TORRENT_BYTES, withoutSecrets } from '../metainfo/metainfo.ts';
import { onDisk, readBounded, replacePrivateFile } from './disk.ts';
import type { StorePaths } from './paths.ts';

/** A host that serves no torrents is not asked again for an hour (docs/protocol.md, "Paths of the torrent service"). */
const SILENT_MS = 3_600_000;
const MAX_RECORD_BYTES = 64 * 1024;
const MAX_URL = 2048;

/** Small files that quayctl remembers things in. What is damaged counts as absent. */
export class RememberedFacts {
  readonly #paths: StorePaths;

  constructor(paths: StorePaths) {
    this.#paths = paths;
  }

  /** Kept without tokens and web seeds. @throws QuayctlError `protocol`, `limit` for what is no torrent */
  async saveTorrent(digest: Digest, bytes: Uint8Array): Promise<void> {
    await this.#write(this.#paths.own('torrents', digestHex(digest)), withoutSecrets(bytes));
  }

  async loadTorrent(digest: Digest): Promise<Uint8Array | undefined> {
    const bytes = await this.#read(this.#paths.own('torrents', digestHex(digest)), MAX_TORRENT_BYTES);
    return tolerant(() => {
      if (bytes !== undefined) decodeTorrent(bytes);
      return bytes;
    });
  }

  /** Where torrents of a repository were asked for the last time. */
  async noteService(reference: ImageReference, service: URL): Promise<void> {
    const path = this.#servicePath(reference);
    if ((await this.serviceOf(reference))?.href === bare(service).href) return;
    await this.#write(path, Buffer.from(JSON.stringify({ service: bare(service).href })));
  }

  async serviceOf(reference: ImageReference): Promise<URL | undefined> {
    const bytes = await this.#read(this.#servicePath(reference), MAX_RECORD_BYTES);
    if (bytes === undefined) return undefined;
    return tolerant(() => parseServiceRecord(bytes));
  }

  /** Hosts that serve no torrents. */
  async isSilent(host: string): Promise<boolean> {
    const since = Number((await this.#read(this.#hostPath(host), MAX_RECORD_BYTES))?.toString('latin1'));
    const age = Date.now() - since;
    // A clock that was set back must not make it last for years.
    return age >= 0 && age < SILENT_MS;
  }

  async rememberSilent(host: string): Promise<void> {
    await this.#write(this.#hostPath(host), Buffer.from(String(Date.now())));
  }

  #hostPath(host: string): string {
    return this.#paths.own('hosts', nameOf(host));
  }

  #servicePath(reference: ImageReference): string {
    return this.#paths.own('services', nameOf(repositoryName(reference)));
  }

  #read(path: string, maxBytes: number): Promise<Buffer | undefined> {
    return onDisk(`cannot read ${path}`, () => readBounded(path, maxBytes));
  }

  #write(path: string, bytes: Uint8Array): Promise<void> {
    return onDisk(`cannot write ${path}`, () => replacePrivateFile(this.#paths.own('tmp'), path, bytes));
  }
}

/** Any text as a file name. */
function nameOf(key: string): string {
  return createHash('sha256').update(key).digest('hex');
}

function bare(service: URL): URL {
  const url = new URL(service);
  url.username = url.password = url.search = url.hash = '';
  return url;
}

/** Exported for the tests of hostile records. @throws QuayctlError `protocol`, `limit` */
export function parseServiceRecord(bytes: Uint8Array): URL | undefined {
  const { service } = parseJsonObject(bytes, 'service', MAX_RECORD_BYTES);
  const url = URL.parse(optionalText(service, 'service', MAX_URL) ?? '');
  return url !== null && /^https?:$/.test(url.protocol) ? url : undefined;
}

function tolerant<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (error instanceof QuayctlError) return undefined;
    throw error;
  }
}
