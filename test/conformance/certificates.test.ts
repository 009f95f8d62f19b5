import assert from 'node:assert/strict';
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe } from 'node:test';
import { makeAuthority } from '../helpers/certificate.ts';
import { openNeighbour } from '../helpers/neighbour.ts';
import { OddReply, startOddRegistry, tokenReply } from '../helpers/odd-registry.ts';
import type { Output, Scope } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { receiptOf } from '../helpers/stage.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { login, simple } from './case.ts';
import { defineCheck } from './define-tests.ts';
import { furnish } from './pull-case.ts';

/** The registry's address and those that it leads to, each with the certificate of one private authority. */
const [REGISTRY, TOKENS, STORAGE] = ['127.91.7.1', '127.91.7.2', '127.91.7.3'];
const CERTS = '/etc/docker/certs.d';

interface Setup {
  /** As in the image's reference, in certs.d as well unless `folder` says otherwise. */
  readonly host: (port: number) => string;
  readonly folder?: (port: number) => string;
  readonly port?: number;
  readonly leadsTo?: 'tokens' | 'storage' | 'storage in the clear';
  readonly flags?: readonly string[];
}

/** Pulls in a mount namespace whose certs.d has the authority for the registry alone. */
async function pull(
  scope: Scope,
  { host, folder = host, port = 0, leadsTo, flags = [] }: Setup,
): Promise<Output> {
  const authority = await makeAuthority(scope);
  const tls = await authority.issue([`IP:${REGISTRY}`, `IP:${TOKENS}`, `IP:${STORAGE}`, 'DNS:localhost']);
  const image = simple();
  const registry = await startOddRegistry(scope, {
    tls,
    port,
    address: REGISTRY,
    ...(leadsTo === 'tokens' ? { auth: 'bearer' } : {}),
    challenge: () => `Bearer realm="${elsewhere.url}/token",service="svc"`,
    blob: ({ reference }, reply) =>
      leadsTo?.startsWith('storage') === true && reply.status < 300
        ? new OddReply(307, { Location: `${elsewhere.url}/${reference}` })
        : undefined,
  });
  // On loopback nobody listens in.
  const isClear = leadsTo === 'storage in the clear';
  const place = isClear ? { address: (await openNeighbour(scope)).here } : { tls };
  const elsewhere = await startOddRegistry(scope, {
    address: leadsTo === 'tokens' ? TOKENS : STORAGE,
    ...place,
    before: (request) => {
      const blob = registry.blobs.get(request.path.slice(1));
      return blob === undefined ? tokenReply(registry) : registry.blobReply(request, blob);
    },
  });
  registry.put('team/app', '1', image);
  const certs = await tempDirectory(scope, 'certs');
  await mkdir(join(certs, folder(registry.port)));
  await copyFile(authority.certificate, join(certs, folder(registry.port), 'ca.crt'));

  const mount = `mkdir -p ${CERTS} && mount --bind "$0" ${CERTS} && exec "$@"`;
  const launcher = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', mount, certs];
  const node = await quayctlNode(scope, { launcher });
  const reference = `${host(registry.port)}/team/app:1`;
  const env = await furnish(node.home, { reference, docker: login(host(registry.port)) });
  return node.run(['torrent', 'pull', reference, '--json', '--no-progress', ...flags], { env });
}

const pulled = (setup: Setup) => async (scope: Scope) => void receiptOf(await pull(scope, setup));
const own = (port: number): string => `${REGISTRY}:${port}`;
const skip = skipWithout('root', 'unshare', 'ip');

describe('conformance: certificates', () => {
  defineCheck('C15: certs.d/HOST:PORT', pulled({ host: own }), skip);
  defineCheck(
    'C15: certs.d/HOST:443 for a reference with :443',
    pulled({ host: () => `${REGISTRY}:443`, port: 443 }),
    skip,
  );
  defineCheck(
    'C15: certs.d/HOST for a reference without a port',
    pulled({ host: () => REGISTRY, port: 443 }),
    skip,
  );
  defineCheck(
    "C16: the registry's authority counts for its token server on another name",
    pulled({ host: own, leadsTo: 'tokens' }),
    skip,
  );
  defineCheck(
    "C16: the registry's authority counts for its storage on another name",
    pulled({ host: own, leadsTo: 'storage' }),
    skip,
  );
  const toClear = { host: own, leadsTo: 'storage in the clear' } as const;
  defineCheck(
    'C17: storage over plain HTTP is refused',
    async (scope) => {
      const { code, stderr } = await pull(scope, toClear);
      assert.equal(code, 1, stderr);
      assert.match(stderr, /redirects from HTTPS to plain HTTP at .*\nhint: .*--insecure/);
    },
    skip,
  );
  defineCheck(
    'C17: storage over plain HTTP, with --insecure',
    pulled({ ...toClear, flags: ['--insecure'] }),
    skip,
  );
});
