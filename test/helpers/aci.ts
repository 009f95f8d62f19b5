import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { buildLayer, type LayerEntry } from './layers.ts';

/** An App Container Image in memory. */
export interface BuiltAci {
  readonly bytes: Buffer;
  /** As rkt has it: half of the SHA-512 of the plain tar. */
  readonly imageId: string;
}

export interface AciSpec {
  /** Merged into a manifest that is good; undefined fields go away. */
  readonly manifest?: Readonly<Record<string, unknown>>;
  /** Below `rootfs/`. */
  readonly files?: readonly LayerEntry[];
  /** In place of all of them, manifest included. */
  readonly entries?: readonly LayerEntry[];
  readonly compression?: 'gzip' | 'zstd' | 'none';
}

/** @param folder for temporary files */
export async function buildAci(folder: string, spec: AciSpec = {}): Promise<BuiltAci> {
  const manifest = {
    acKind: 'ImageManifest',
    acVersion: '0.8.11',
    name: 'quay.example/ns/tiny',
    labels: labels({ version: 'v1.0', os: 'linux', arch: 'amd64' }),
    ...spec.manifest,
  };
  const { files = [{ name: 'hello', content: 'hello' }] } = spec;
  const entries = spec.entries ?? [
    { name: 'manifest', content: JSON.stringify(manifest) },
    { name: 'rootfs', type: 'directory', mode: 0o755 },
    ...files.map((file) => ({ ...file, name: `rootfs/${file.name}` })),
  ];
  const plain = await buildLayer(folder, { entries, compression: 'none' });
  const { compression = 'gzip' } = spec;
  const built =
    compression === 'none' ? plain : await buildLayer(folder, { tarFile: plain.path, compression });
  const sha512 = createHash('sha512').update(await readFile(plain.path));
  return { bytes: await readFile(built.path), imageId: `sha512-${sha512.digest('hex').slice(0, 64)}` };
}

export function labels(of: Readonly<Record<string, string>>): readonly { name: string; value: string }[] {
  return Object.entries(of).map(([name, value]) => ({ name, value }));
}
