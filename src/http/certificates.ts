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
 * A host's folder in Docker's `certs.d`, read as Docker reads it: every *.crt is a further authority, NAME.cert with
 * NAME.key is the client's. No folder, no certificates.
 * @param host with its port, where it has one
 * @throws QuayctlError `credentials` for what cannot be read
 */
export async function hostCertificates(certsDirectory: string, host: string): Promise<HostCertificates> {
  // A host of dots would be a folder above.
  if (/^\.*$/.test(host)) return {};
  const directory = join(certsDirectory, host);
  const names = await readdir(directory).catch(() => [] as string[]);
  const authorities = await Promise.all(
    names.filter((name) => name.endsWith('.crt')).map((name) => read(directory, name)),
  );
  const client = names.sort().find((name) => name.endsWith('.cert'));
  return {
    ...(authorities.length > 0 ? { ca: [...getCACertificates('default'), ...authorities] } : {}),
    ...(client === undefined
      ? {}
      : {
          cert: await read(directory, client),
          key: await read(directory, client.replace(/\.cert$/, '.key')),
        }),
  };
}

async function read(directory: string, name: string): Promise<string> {
  try {
    return await readFile(join(directory, name), 'utf8');
  } catch (cause) {
    throw new QuayctlError('credentials', `cannot read ${join(directory, name)}`, { cause });
  }
}
