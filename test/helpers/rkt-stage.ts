import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AciSigner } from '../../src/serve/aci/signer.ts';
import type { TorrentServiceOptions } from '../../src/serve/torrent-service.ts';
import { makeAuthority, type TestAuthority } from './certificate.ts';
import { hostsLauncher, someLoopback } from './hosts.ts';
import type { Scope } from './processes.ts';
import { quayctlNode, type QuayctlNode } from './quayctl.ts';
import { makeRkt, type TestRkt } from './rkt.ts';
import { startService, type TestService } from './torrent-service.ts';

/** A machine with quayctl and rkt on it, which knows the service by its name. */
export interface RktNode {
  readonly quayctl: QuayctlNode;
  readonly rkt: TestRkt;
}

/** `quayctl serve` as somebody's new Quay: at https://NAME, on port 443, as discovery wants it. */
export interface RktStage {
  readonly name: string;
  readonly service: TestService;
  readonly authority: TestAuthority;
  /** The service's key, in a file. */
  readonly keyFile: string;
  /** @param trusts whether its rkt trusts the service's key */
  node(scope: Scope, options?: { readonly trusts?: boolean }): Promise<RktNode>;
}

export async function openRktStage(
  scope: Scope,
  folder: string,
  options: Pick<TorrentServiceOptions, 'upstream'> & Partial<TorrentServiceOptions>,
): Promise<RktStage> {
  const name = 'quay.rkt.test';
  const address = someLoopback();
  const authority = await makeAuthority(scope);
  const { certificatePem: cert, keyPem: key } = await authority.issue([`DNS:${name}`]);
  const launcher = await hostsLauncher(scope, { [name]: address });
  const service = await startService(scope, {
    listen: { host: address, port: 443 },
    publicUrl: `https://${name}`,
    tls: { cert, key },
    aliases: [name],
    ...options,
  });
  const keyFile = join(folder, 'service-key.asc');
  await writeFile(keyFile, await new AciSigner(join(service.data, 'secret.json')).publicKey());
  return {
    name,
    service,
    authority,
    keyFile,
    node: async (mine, { trusts = true } = {}) => {
      const rkt = await makeRkt(mine, { SSL_CERT_FILE: authority.certificate }, launcher);
      if (trusts) await rkt.trust(keyFile);
      const env = { ...rkt.env, NODE_EXTRA_CA_CERTS: authority.certificate };
      return { rkt, quayctl: await quayctlNode(mine, { launcher, env }) };
    },
  };
}

/** What rkt, and quayctl for rkt images, show a host. */
export async function giveCredential(
  { config }: TestRkt,
  host: string,
  { username, password }: { readonly username: string; readonly password: string },
): Promise<void> {
  const entry = {
    rktKind: 'auth',
    rktVersion: 'v1',
    domains: [host],
    type: 'basic',
    credentials: { user: username, password },
  };
  await mkdir(join(config, 'auth.d'), { recursive: true });
  await writeFile(join(config, 'auth.d', `${host}.json`), JSON.stringify(entry), { mode: 0o600 });
}
