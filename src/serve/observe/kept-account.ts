import { mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { writeAtomically } from '../../base/atomic-file.ts';
import { isDigest } from '../../image/digest.ts';
import { list, object, parseJsonObject, type JsonObject } from '../../image/json.ts';
import { parseInfoHash, type InfoHash } from '../../metainfo/info-hash.ts';
import type { SwarmName } from './observed.ts';
import { MAX_SWARMS, type Observer } from './observer.ts';

const SAVE_MS = 20_000;
const MAX_FILE_BYTES = 8 * 1024 * 1024;
/** Names of swarms that outlive the process; the latest. */
const MAX_NAMES = 2000;
const MAX_STEPS = 2000;

/**
 * What was counted, and the names of the latest swarms, on disk, so that a restart of the service loses 20 seconds at most.
 * Info hashes are secret, and so is the file.
 */
export class KeptAccount {
  readonly #path: string;
  readonly #observer: Observer;
  readonly #onWarning: (message: string) => void;
  readonly #timer: NodeJS.Timeout;
  #saving: Promise<void> = Promise.resolve();
  #saved = '';

  private constructor(path: string, observer: Observer, onWarning: (message: string) => void) {
    this.#path = path;
    this.#observer = observer;
    this.#onWarning = onWarning;
    this.#timer = setInterval(() => void this.#save(), SAVE_MS).unref();
  }

  /** Takes up what an earlier run kept; a file that cannot be read is told of, and begun anew. */
  static async open(
    dataDirectory: string,
    observer: Observer,
    onWarning: (message: string) => void,
  ): Promise<KeptAccount> {
    const path = join(dataDirectory, 'observed.json');
    try {
      restore(await readFile(path), observer);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        onWarning(`${path}: ${(error as Error).message}; what nodes received is counted anew`);
    }
    return new KeptAccount(path, observer, onWarning);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#save();
  }

  #save(): Promise<void> {
    this.#saving = this.#saving.then(() => this.#write());
    return this.#saving;
  }

  async #write(): Promise<void> {
    const { total, ring } = this.#observer;
    const names = this.#observer.names().slice(-MAX_NAMES);
    const text = JSON.stringify({ total, names, day: ring.history(Date.now()) });
    if (text === this.#saved) return;
    try {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
      await writeAtomically(this.#path, Buffer.from(text), { mode: 0o600 });
      this.#saved = text;
    } catch (error) {
      this.#onWarning(`${this.#path} cannot be written: ${(error as Error).message}`);
    }
  }
}

/** @throws QuayctlError `protocol`, `limit` */
function restore(bytes: Uint8Array, observer: Observer): void {
  const kept = parseJsonObject(bytes, 'observed.json', MAX_FILE_BYTES);
  const day = object(kept['day'], 'day');
  const steps = (name: string): number[] => list(day[name], name, MAX_STEPS).map(count);
  const [fromPeers, fromRegistry] = [steps('fromPeers'), steps('fromRegistry')];
  const total = object(kept['total'], 'total');
  const names = list(kept['names'], 'names', MAX_SWARMS).map(nameOf);
  observer.restore(
    {
      fromPeers: count(total['fromPeers']),
      fromRegistry: count(total['fromRegistry']),
      since: count(total['since']),
    },
    names,
  );
  observer.ring.restore({ from: count(day['from']), stepSeconds: 60, fromPeers, fromRegistry }, Date.now());
}

function nameOf(entry: unknown): [InfoHash, SwarmName] {
  const [infoHash, name] = list(entry, 'name', 2);
  const { repository, digest, size, kind }: JsonObject = object(name, 'name');
  const known = kind === 'squashed' || kind === 'aci' ? kind : 'layer';
  return [
    parseInfoHash(String(infoHash)),
    {
      repository: String(repository),
      digest: typeof digest === 'string' && isDigest(digest) ? digest : '',
      size: Math.max(1, count(size)),
      kind: known,
    },
  ];
}

function count(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}
