import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { getCACertificates } from 'node:tls';
import { QuayctlError } from '../base/errors.ts';

/** PEM. `ca` stands beside the authorities that Node trusts, NODE_EXTRA_CA_CERTS included. */
export interface HostCertificates {
  readonly ca?: string[];
  readonly cert?: string;
  readonly key?: string;
}

/**
 * The certificates for a host, from the folders in Docker's `certs.d`, read as Docker reads them: every *.crt is a
 * further authority, NAME.cert with NAME.key is the client's. No folder, no certificates.
 * @param hosts the host itself and the registry that led to it, as its user names it. Docker has the registry's folder
 *   count for everything that the registry leads to
 * @throws QuayctlError `credentials` for what cannot be read
 */
export async function hostCertificates(
  certsDirectory: string,
  hosts: readonly string[],
): Promise<HostCertificates> {
  const names = new Set(hosts.map(withPort));
  const folders = await readdir(certsDirectory).catch(() => [] as string[]);
  const found = folders.filter((folder) => names.has(withPort(folder)));
  const files = await Promise.all(
    found.map(async (folder) => {
      const directory = join(certsDirectory, folder);
      const entries = await readdir(directory).catch(() => [] as string[]);
      return entries.sort().map((entry) => join(directory, entry));
    }),
  );
  // The host's own client certificate goes before the registry's.
  const own = withPort(hosts[0] ?? '');
  const paths = found
    .map((folder, at) => ({ isOwn: withPort(folder) === own, files: files[at] ?? [] }))
    .sort((a, b) => Number(b.isOwn) - Number(a.isOwn))
    .flatMap((folder) => folder.files);
  const authorities = await Promise.all(paths.filter((path) => path.endsWith('.crt')).map(read));
  const client = paths.find((path) => path.endsWith('.cert'));
  return {
    ...(authorities.length > 0 ? { ca: [...getCACertificates('default'), ...authorities] } : {}),
    ...(client === undefined
      ? {}
      : { cert: await read(client), key: await read(client.replace(/\.cert$/, '.key')) }),
  };
}

/** Users write a registry with and without the port of HTTPS, in upper and lower case, and mean the same one. */
function withPort(host: string): string {
  const name = host.toLowerCase();
  return /:\d+$/.test(name) ? name : `${name}:443`;
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new QuayctlError('credentials', `cannot read ${path}`, { cause });
  }
}
