import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { QuayctlError } from '../../base/errors.ts';
import { platformOfAppc } from '../../image/appc-platform.ts';
import { formatPlatform } from '../../image/platform.ts';
import type { ImageConfig } from '../../image/manifest.ts';
import { mergeLayers } from '../../layers/merge.ts';
import { tarBytes } from '../../tar/writer.ts';
import { runsOnPlatform } from '../../image/single-platform.ts';
import type { Recipe, SourceImage } from '../derived/recipe.ts';
import { aciEntries } from './content.ts';
import { aciManifest, type AciIdentity } from './manifest.ts';
import type { AciSigner } from './signer.ts';

/** Goes up with every change of the bytes, so that what an earlier build made is not mistaken for this one's. */
const VERSION = '3';
/** zlib's default: the file crosses a thin pipe, and is made once. rkt takes no zstd. */
const GZIP_LEVEL = 6;
/** Bytes read at one time for the signature: each costs a turn through a web stream. */
const SIGNED_AT_ONCE = 1024 * 1024;

/** As which ACI an image is asked for. */
export type AciRequestName = Omit<AciIdentity, 'manifest' | 'config'>;

/** What is remembered of an ACI beside its bytes. */
export const ACI_NOTES = { imageId: 'imageID', signature: 'signature' } as const;

/**
 * An ACI (appc spec) in gzip, with its signature. The uncompressed tar is the same wherever it is made of the same
 * image; the gzip and the signature are made once, here, and kept.
 * @param fingerprint of the signer's key: what another key signed is made anew
 */
export function aciRecipe(name: AciRequestName, signer: AciSigner, fingerprint: string): Recipe {
  const { server, repository, tag, platform } = name;
  return {
    kind: 'ACI',
    inputs: [VERSION, server, repository, tag, platform.os, platform.arch, fingerprint],
    check: (config) => assertPlatform(name, config),
    write: async (source, path, signal) => {
      const imageId = await writeAci(name, source, path, signal);
      const signature = await signer.sign(() =>
        createReadStream(path, { signal, highWaterMark: SIGNED_AT_ONCE }),
      );
      return { [ACI_NOTES.imageId]: imageId, [ACI_NOTES.signature]: signature };
    },
  };
}

/** An image without an index is for one platform: under the labels of another rkt would run what it cannot. */
function assertPlatform({ platform, repository, tag }: AciRequestName, config: ImageConfig): void {
  const wanted = platformOfAppc(platform);
  if (wanted !== undefined && runsOnPlatform({ config }, wanted)) return;
  const has = formatPlatform(config);
  throw new QuayctlError(
    'not-found',
    `${repository}:${tag} is for ${has}, not for ${platform.os}/${platform.arch}`,
  );
}

/** @returns the image ID: half of the SHA-512 of the uncompressed tar, as rkt has it */
async function writeAci(
  name: AciRequestName,
  { digest, manifest, config, layers }: SourceImage,
  path: string,
  signal: AbortSignal,
): Promise<string> {
  const tree = await mergeLayers(layers, signal);
  const about = { ...name, manifest: digest, config: manifest.config.digest };
  const plain = createHash('sha512');
  try {
    await pipeline(
      tarBytes(aciEntries(tree, aciManifest(about, config))),
      async function* (chunks: AsyncIterable<Uint8Array>) {
        for await (const chunk of chunks) {
          plain.update(chunk);
          yield chunk;
        }
      },
      createGzip({ level: GZIP_LEVEL }),
      createWriteStream(path, { flags: 'wx', mode: 0o600, flush: true }),
      { signal },
    );
  } finally {
    tree.release();
  }
  return `sha512-${plain.digest('hex').slice(0, 64)}`;
}
