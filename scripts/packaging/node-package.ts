import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { access, mkdir, rename } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { mustRun } from '../../test/helpers/processes.ts';
import type { NodePackage } from './targets.ts';

/** Archives that were fetched before; each is compared with its integrity whenever it is used. */
const CACHE = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'quayctl-release');

/**
 * Unpacks a file of a Node package into `folder`, fetching the package if it is not here yet.
 * @param path in the package; default: its program
 * @returns path of the file
 * @throws where the archive is another one than was asked for
 */
export async function unpackNode(node: NodePackage, folder: string, path = node.path): Promise<string> {
  const archive = await fetchArchive(node);
  await mkdir(folder, { recursive: true });
  await mustRun('tar', ['-C', folder, '--no-same-owner', '-xzf', archive, `package/${path}`]);
  return join(folder, 'package', path);
}

async function fetchArchive({ name, version, integrity }: NodePackage): Promise<string> {
  const archive = join(CACHE, `${name}-${version}.tgz`);
  if (!(await isThere(archive))) {
    const folder = join(CACHE, `fetching-${name}-${process.pid}`);
    await mkdir(folder, { recursive: true });
    await mustRun('npm', ['pack', '--silent', '--pack-destination', folder, `${name}@${version}`]);
    await rename(join(folder, `${name}-${version}.tgz`), archive);
    await mustRun('rmdir', [folder]);
  }
  const hash = createHash('sha512');
  await pipeline(createReadStream(archive), hash);
  const found = `sha512-${hash.digest('base64')}`;
  if (found !== integrity)
    throw new Error(`${archive} is not ${name}@${version}: its integrity is ${found}, not ${integrity}`);
  return archive;
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
