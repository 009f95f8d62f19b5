/**
 * A second process on a store, for tests that kill it or race with it. It speaks in lines on stdout.
 * `write DIR SEED SIZE`: writes the blob in pieces in a scattered order, slowly, and says `written N` after each.
 * `pull DIR SEED COUNT SIZE`: obtains COUNT blobs as a pull would, and says `downloaded N` for what it wrote itself.
 * `hold DIR SEED SIZE`: begins the blob, says `holding`, and sleeps.
 */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { openStore } from '../../src/store/open-store.ts';
import { blobOf, type TestBlob } from './blobs.ts';

const PIECE = 16 * 1024;

/** The same bytes in parent and child. */
export function seededBlob(seed: string, size: number): TestBlob {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; at += 32) {
    createHash('sha256').update(`${seed} ${at}`).digest().copy(bytes, at);
  }
  return blobOf(bytes);
}

async function main([task, directory = '', seed = '', ...numbers]: readonly string[]): Promise<void> {
  const [first = 0, second = 0] = numbers.map(Number);
  const store = await openStore(directory);
  const signal = AbortSignal.timeout(60_000);
  if (task === 'write' || task === 'hold') {
    const blob = seededBlob(seed, first);
    const partial = await store.begin(blob.descriptor, signal);
    if (partial === 'present') throw new Error('present');
    if (task === 'hold') {
      say('holding');
      await sleep(60_000);
    }
    const pieces = Math.ceil(first / PIECE);
    for (let at = 0; at < pieces; at++) {
      const offset = ((at * 7) % pieces) * PIECE;
      await partial.write(offset, blob.bytes.subarray(offset, offset + PIECE));
      say(`written ${partial.written}`);
      await sleep(1);
    }
    await sleep(60_000);
  }
  if (task === 'pull') {
    const blobs = Array.from({ length: first }, (_, at) => seededBlob(`${seed} ${at}`, second));
    await using _inUse = await store.lease(blobs.map(({ descriptor }) => descriptor.digest));
    say('leased');
    const counts = await Promise.all(blobs.map((blob) => download(blob)));
    say(`downloaded ${counts.reduce((sum, count) => sum + count, 0)}`);
  }
  await store.close();

  async function download({ bytes, descriptor }: TestBlob): Promise<number> {
    const partial = await store.begin(descriptor, signal);
    if (partial === 'present') return 0;
    for (let at = 0; at < bytes.length; at += PIECE) {
      await partial.write(at, bytes.subarray(at, at + PIECE));
      await sleep(1);
    }
    await partial.commit();
    await partial.close();
    return bytes.length;
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

if (import.meta.main) await main(process.argv.slice(2));
