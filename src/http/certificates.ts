import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { QuayctlError } from '../base/errors.ts';

/** Where the authorities and the client certificates for a host are looked for. */
export interface CertificatePlaces {
  /** Docker's `certs.d`. */
  readonly certsDirectory: string;
  /** SSL_CERT_FILE, as OpenSSL and Go read it: a PEM file of further authorities. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The system's authorities count, too. Reading them takes a third of a second, so they are read where they are needed. */
  readonly isSystemTrusted: boolean;
}

/**
 * What TLS with a host is made with; undefined where Node's own authorities (NODE_EXTRA_CA_CERTS among them) are all. Folders
 * of `certs.d` are read as Docker reads them: every *.crt is a further authority, NAME.cert with NAME.key is the client's.
 * @param hosts the host itself and the registry that led to it, as its user names it. Docker has the registry's folder
 *   count for everything that the registry leads to
 * @throws QuayctlError `credentials` for what cannot be read, or is not PEM
 */
export async function hostCertificates(
  { certsDirectory, env, isSystemTrusted }: CertificatePlaces,
  hosts: readonly string[],
): Promise<SecureContext | undefined> {
  const paths = await filesFor(certsDirectory, hosts);
  const given = env['SSL_CERT_FILE'] ?? '';
  const files = [...paths.filter((path) => path.endsWith('.crt')), ...(given === '' ? [] : [given])];
  const authorities = await Promise.all(files.map(read));
  const client = paths.find((path) => path.endsWith('.cert'));
  if (authorities.length === 0 && client === undefined && !isSystemTrusted) return undefined;
  const system = isSystemTrusted ? getCACertificates('system') : [];
  const pair =
    client === undefined
      ? {}
      : { cert: await read(client), key: await read(client.replace(/\.cert$/, '.key')) };
  try {
    // Made once: every connection would read hundreds of certificates anew.
    return createSecureContext({ ca: [...getCACertificates('default'), ...system, ...authorities], ...pair });
  } catch (cause) {
    throw new QuayctlError(
      'credentials',
      `the certificates for ${hosts[0] ?? ''} are not PEM, or do not fit`,
      {
        cause,
        hint: `they are ${[...files, ...(client === undefined ? [] : [client])].join(', ')}`,
      },
    );
  }
}

/** Everything in the hosts' folders; the host's own come before the registry's. */
async function filesFor(certsDirectory: string, hosts: readonly string[]): Promise<readonly string[]> {
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
  const own = withPort(hosts[0] ?? '');
  return found
    .map((folder, at) => ({ isOwn: withPort(folder) === own, files: files[at] ?? [] }))
    .sort((a, b) => Number(b.isOwn) - Number(a.isOwn))
    .flatMap((folder) => folder.files);
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
