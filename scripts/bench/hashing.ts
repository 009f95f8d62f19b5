import { createCipheriv, createHash } from 'node:crypto';
import { mkdir, mkdtemp, open, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestFromHex, type Digest } from '../../src/image/digest.ts';
import { Hashing } from '../../src/serve/torrents/hashing.ts';
import { LayoutUpstream } from '../../src/serve/upstream/layout-upstream.ts';
import { mustRun } from '../../test/helpers/processes.ts';
import { programPath } from '../../test/helpers/programs.ts';

/** Rounds; the best of each side counts, as others may use the machine meanwhile. */
const ROUNDS = 4;
const MIB = 1024 * 1024;
const REPOSITORY = 'bench';

const mebibytes = Number(process.argv[2] ?? 1024);
const directory = join(await mkdtemp(join(tmpdir(), 'quayctl-bench-')), REPOSITORY);
try {
  const { digest, file } = await layoutOf(directory, mebibytes);
  const rates = { service: 0, openssl: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    rates.openssl = Math.max(rates.openssl, rate(await timed(() => openssl(file))));
    rates.service = Math.max(rates.service, rate(await timed(() => service(directory, digest))));
  }
  const memory = Math.round(process.memoryUsage.rss() / MIB);
  console.log(`openssl, SHA-1 then SHA-256  ${rates.openssl.toFixed(0)} MB/s`);
  console.log(`quayctl serve, one pass      ${rates.service.toFixed(0)} MB/s (${memory} MiB resident)`);
  console.log(`ratio                        ${(rates.service / rates.openssl).toFixed(2)}`);
} finally {
  await rm(join(directory, '..'), { recursive: true, force: true });
}

/** A layout with one blob of so many MiB that do not compress. */
async function layoutOf(path: string, size: number): Promise<{ digest: Digest; file: string }> {
  const blobs = join(path, 'blobs/sha256');
  await mkdir(blobs, { recursive: true });
  await writeFile(join(path, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(join(path, 'index.json'), '{"schemaVersion":2,"manifests":[]}');
  const stream = createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16));
  const hash = createHash('sha256');
  const temporary = join(path, 'blob');
  const file = await open(temporary, 'w');
  for (let written = 0; written < size; written++) {
    const chunk = stream.update(Buffer.alloc(MIB));
    hash.update(chunk);
    await file.writeFile(chunk);
  }
  await file.close();
  const hex = hash.digest('hex');
  await rename(temporary, join(blobs, hex));
  return { digest: digestFromHex(hex), file: join(blobs, hex) };
}

async function openssl(file: string): Promise<void> {
  const program = programPath('openssl');
  for (const algorithm of ['-sha1', '-sha256']) await mustRun(program, ['dgst', algorithm, file]);
}

async function service(layout: string, digest: Digest): Promise<void> {
  const upstream = new LayoutUpstream(layout, console.warn);
  const store = { load: () => Promise.resolve(undefined), save: () => Promise.resolve() };
  const hashing = new Hashing({
    upstream,
    own: upstream,
    store,
    listener: () => undefined,
    isForOperator: true,
  });
  const caller = { authorization: undefined, claimants: ['bench'] } as const;
  const found = await hashing.hashes({ repository: REPOSITORY, digest }, mebibytes * MIB, caller);
  if ('done' in found) await found.done;
}

async function timed(work: () => void | Promise<void>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return (performance.now() - startedAt) / 1000;
}

/** MB (10^6 bytes) per second. */
function rate(seconds: number): number {
  return (mebibytes * MIB) / 1e6 / seconds;
}
