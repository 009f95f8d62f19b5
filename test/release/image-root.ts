import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mustRun, type Scope } from '../helpers/processes.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { imageLayout } from './artefacts.ts';

interface Layer {
  readonly digest: string;
  /** Bytes of the blob. */
  readonly size: number;
}

interface Document {
  readonly manifests: readonly {
    readonly digest: string;
    readonly platform?: { readonly architecture: string };
  }[];
  readonly layers: readonly Layer[];
}

/** The image's layers for an architecture, and where the blobs of its layout lie. */
export async function imageLayers(
  scope: Scope,
  architecture: string,
): Promise<{ readonly layers: readonly Layer[]; readonly pathOf: (digest?: string) => string }> {
  const layout = await imageLayout(scope);
  const pathOf = (digest = ''): string => join(layout, 'blobs', digest.replace(':', '/'));
  const read = async (path: string): Promise<Document> =>
    JSON.parse(await readFile(path, 'utf8')) as Document;
  const { manifests } = await read(pathOf((await read(join(layout, 'index.json'))).manifests[0]?.digest));
  const entry = manifests.find(({ platform }) => platform?.architecture === architecture);
  const { layers } = await read(pathOf(entry?.digest));
  return { layers, pathOf };
}

/**
 * A root file system with nothing but glibc, libstdc++ and libgcc, certificates and a few lines of /etc: the lowest layer
 * of the image.
 */
async function imageRoot(scope: Scope, architecture: string): Promise<string> {
  const { layers, pathOf } = await imageLayers(scope, architecture);
  const root = await tempDirectory(scope, 'root');
  await mustRun('tar', ['-C', root, '-xzf', pathOf(layers[0]?.digest)]);
  return root;
}

export const arm64Root = (scope: Scope): Promise<string> => imageRoot(scope, 'arm64');
export const amd64Root = (scope: Scope): Promise<string> => imageRoot(scope, 'amd64');
