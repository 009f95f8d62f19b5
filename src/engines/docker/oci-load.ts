import { QuayctlError } from '../../base/errors.ts';
import type { RunnableImage } from '../../image/manifest.ts';
import type { BlobFeed, EnginePresence, LoadedImage, LoadOptions } from '../engine.ts';
import type { DockerClient } from './client.ts';
import type { EngineFacts, StoreKind } from './facts.ts';

export async function presenceInOci(
  _client: DockerClient,
  image: RunnableImage,
  _store: StoreKind,
  _signal: AbortSignal,
): Promise<EnginePresence> {
  return { image: false, layers: image.manifest.layers.map(() => false) };
}

export async function loadIntoOci(
  _client: DockerClient,
  _image: RunnableImage,
  _feed: BlobFeed,
  _options: LoadOptions,
  _facts: EngineFacts,
): Promise<LoadedImage> {
  throw new QuayctlError('engine', 'not yet');
}
