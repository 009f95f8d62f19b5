import { gzipSync } from 'node:zlib';
import { makeAuthority } from '../helpers/certificate.ts';
import {
  OddReply,
  refusal,
  startOddRegistry,
  tokenReply,
  type OddRegistryOptions,
  type OddRequest,
} from '../helpers/odd-registry.ts';
import type { Scope } from '../helpers/processes.ts';
import { login, oddInput, row, simple, type Case, type Input } from './case.ts';

/** To whoever is anonymous the registry answers this in place of its 401; the challenge stands at `/v2/` alone. */
function hidden(
  auth: 'basic' | 'bearer',
  instead: () => OddReply,
  kinds = ['manifest', 'blob'],
): Case['set'] {
  const hide = (request: OddRequest, reply: OddReply): OddReply | undefined =>
    reply.status === 401 && kinds.includes(request.kind) ? instead() : undefined;
  return (scope) => oddInput(scope, { auth, manifest: hide, blob: hide });
}

const both = (name: string, instead: () => OddReply) =>
  (['basic', 'bearer'] as const).map((auth) => ({ name: `${auth}: ${name}`, set: hidden(auth, instead) }));

/** A challenge in other words; `realm` is the token server's URL. */
const says =
  (auth: 'basic' | 'bearer', words: (realm: string) => string | readonly string[]): Case['set'] =>
  (scope) =>
    oddInput(scope, {
      auth,
      all: (_, reply, registry) => {
        if (reply.status !== 401 || reply.get('WWW-Authenticate') === undefined) return;
        reply.set('WWW-Authenticate', undefined);
        for (const field of [words(`${registry.url}/token`)].flat()) reply.add('WWW-Authenticate', field);
      },
    });

const token =
  (oddity: NonNullable<OddRegistryOptions['token']>): Case['set'] =>
  (scope) =>
    oddInput(scope, { auth: 'bearer', token: oddity });

const tokenBody = (make: (token: string) => unknown) =>
  token((_, reply, registry) => (reply.status === 200 ? tokenReply(registry, make) : undefined));

const movedToken = (status: number, relative = false): Case['set'] =>
  token(({ path, query }, _, { url }) =>
    path === '/token'
      ? new OddReply(status, { Location: `${relative ? '' : url}/auth/token?${query}` })
      : undefined,
  );

const zipped = (reply: OddReply): void => {
  if (reply.status !== 200) return;
  reply.body = gzipSync(reply.body);
  reply.set('Content-Encoding', 'gzip');
};

/** An identity token in config.json, exchanged by POST as ACR wants it. */
const identity =
  (answer: (request: OddRequest) => OddReply | undefined): Case['set'] =>
  async (scope) => {
    const input = await oddInput(scope, {
      auth: 'bearer',
      token: (request, _, registry) => {
        const refreshes = new URLSearchParams(request.body).get('refresh_token') === 'refresh';
        if (request.method === 'POST' && refreshes) {
          return answer(request) ?? tokenReply(registry, (access_token) => ({ access_token }));
        }
        return refusal(401, 'UNAUTHORIZED');
      },
    });
    const auth = Buffer.from('00000000-0000-0000-0000-000000000000:').toString('base64');
    return { ...input, docker: { auths: { [input.registry.host]: { auth, identitytoken: 'refresh' } } } };
  };

/** A realm of http that leads to https on another port. */
async function upwards(scope: Scope, anonymous: boolean): Promise<Input> {
  const authority = await makeAuthority(scope);
  const tls = await authority.issue(['IP:127.0.0.1']);
  const input = await oddInput(scope, {
    auth: 'bearer',
    anonymousTokens: true,
    token: (_request, _reply, registry) =>
      new OddReply(307, { Location: `${secure.url}/token?of=${registry.port}` }),
  });
  const secure = await startOddRegistry(scope, {
    tls,
    before: (request) =>
      anonymous || request.headers.authorization !== undefined
        ? tokenReply(input.registry)
        : refusal(401, 'UNAUTHORIZED'),
  });
  const env = { NODE_EXTRA_CA_CERTS: authority.certificate, SSL_CERT_FILE: authority.certificate };
  return { ...input, env, docker: anonymous ? {} : login(input.registry.host) };
}

/** The same on the ports that are meant where none is named: the host is the same, and the password may go on. */
async function samePlace(scope: Scope): Promise<Input> {
  const address = '127.91.7.4';
  const authority = await makeAuthority(scope);
  const tls = await authority.issue([`IP:${address}`]);
  const input = await oddInput(scope, {
    auth: 'bearer',
    challenge: () => `Bearer realm="http://${address}/token",service="svc"`,
  });
  await startOddRegistry(scope, {
    address,
    port: 80,
    before: ({ target }) => new OddReply(301, { Location: `https://${address}${target}` }),
  });
  await startOddRegistry(scope, {
    address,
    port: 443,
    tls,
    before: ({ headers }) =>
      headers.authorization === undefined ? refusal(401, 'UNAUTHORIZED') : tokenReply(input.registry),
  });
  const env = { NODE_EXTRA_CA_CERTS: authority.certificate, SSL_CERT_FILE: authority.certificate };
  return { ...input, env };
}

async function elsewhere(scope: Scope): Promise<Input> {
  const there = await startOddRegistry(scope, { auth: 'bearer', anonymousTokens: true });
  const here = await startOddRegistry(scope, {
    before: ({ target }) => new OddReply(307, { Location: `${there.url}${target}` }),
  });
  const image = simple();
  there.put('team/app', '1', image);
  return { reference: `${here.host}/team/app:1`, image };
}

/** Storage that is handed signed URLs and takes no Authorization beside. */
async function signedStorage(scope: Scope, where: 'same host' | 'another port'): Promise<Input> {
  const fromStorage: NonNullable<OddRegistryOptions['before']> = (request) => {
    if (!request.path.startsWith('/minio/')) return undefined;
    if (request.headers.authorization !== undefined)
      return new OddReply(400, {}, 'Only one auth mechanism allowed');
    const blob = input.registry.blobs.get(request.path.split('/').at(-1) ?? '');
    return blob === undefined ? refusal(404, 'NoSuchKey') : input.registry.blobReply(request, blob);
  };
  const storage = await startOddRegistry(scope, { before: fromStorage });
  const input = await oddInput(scope, {
    auth: 'bearer',
    before: fromStorage,
    blob: ({ reference }, reply, { url }) =>
      reply.status === 200 || reply.status === 206
        ? new OddReply(307, {
            Location: `${where === 'same host' ? url : storage.url}/minio/${reference}?X-Amz-Signature=a`,
          })
        : undefined,
  });
  return input;
}

export const CHALLENGES: readonly Case[] = [
  ...row('A1', 'containerd/containerd#3291, sapcc/keppel#522', 'pulled', [
    ...both('manifests and blobs are 404 to the anonymous', () => refusal(404, 'MANIFEST_UNKNOWN')),
    {
      name: 'basic: only blobs are 404 to the anonymous',
      set: hidden('basic', () => refusal(404, 'BLOB_UNKNOWN'), ['blob']),
    },
  ]),
  ...row(
    'A2',
    'containerd/containerd#3291',
    'pulled',
    both('403 to the anonymous', () => refusal(403, 'DENIED')),
  ),
  ...row('A3', 'GoogleContainerTools/jib#2898', 'pulled', [
    ...both('400 to the anonymous', () => refusal(400, 'UNSUPPORTED')),
    ...both('401 without a challenge to the anonymous', () => refusal(401, 'UNAUTHORIZED')),
  ]),
  ...row('A4', 'project-zot/zot#2928, #3867', 'pulled', [
    {
      name: '/v2/ is free, manifests are not',
      set: (scope) => oddInput(scope, { auth: 'bearer', ping: () => new OddReply(200, {}, '{}') }),
    },
  ]),
  ...row('A5', 'regclient/regclient#265', 'pulled', [
    { name: 'Basic realm=/', set: says('basic', () => 'Basic realm=/') },
  ]),
  ...row('A6', 'genuinetools/reg#72', 'pulled', [
    {
      name: 'service without quotes',
      set: says('bearer', (realm) => `Bearer realm="${realm}",service=foobar.com`),
    },
    {
      name: 'service with a port, without quotes',
      set: says('bearer', (realm) => `Bearer realm="${realm}",service=reg.example.com:5000,scope=""`),
    },
  ]),
  ...row('A7', 'greenbone/openvas-scanner#2077', 'pulled', [
    { name: 'Basic realm=Word', set: says('basic', () => 'Basic realm=Word') },
    { name: 'Basic realm=Two Words', set: says('basic', () => 'Basic realm=Two Words') },
  ]),
  // docker, podman, skopeo and crane fail here.
  ...row('A8', 'ceph/ceph#69900', 'pulled', [
    { name: 'realm URL without quotes', set: says('bearer', (realm) => `Bearer realm=${realm},service=svc`) },
  ]),
  ...row('A9', 'oauthlib/oauthlib#676', 'pulled', [
    {
      name: 'a comma behind the scheme',
      set: says('bearer', (realm) => `Bearer, realm="${realm}",service="svc"`),
    },
    {
      name: 'spaces around =',
      set: says('bearer', (realm) => `Bearer realm = "${realm}" , service = "svc"`),
    },
  ]),
  ...row('A10', 'neighbours of A5 to A9', 'pulled', [
    {
      name: 'no comma between parameters',
      set: says('bearer', (realm) => `Bearer realm="${realm}" service="svc"`),
    },
    { name: 'semicolons', set: says('bearer', (realm) => `Bearer realm="${realm}";service="svc"`) },
    {
      name: 'scope without quotes',
      set: says('bearer', (realm) => `Bearer realm="${realm}",service="svc",scope=repository:team/app:pull`),
    },
    {
      name: 'error_description without quotes',
      set: says(
        'bearer',
        (realm) => `Bearer realm="${realm}",service="svc",error_description=no such thing here`,
      ),
    },
    {
      name: 'an empty value without quotes',
      set: says('bearer', (realm) => `Bearer realm="${realm}",service="svc",scope=`),
    },
    {
      name: 'the last quote is missing',
      set: says('bearer', (realm) => `Bearer realm="${realm}",service="svc",scope="repository:team/app:pull`),
    },
    {
      name: 'a malformed Digest before a good Bearer',
      set: says('bearer', (realm) => [`Digest realm="a, nonce=/`, `Bearer realm="${realm}",service="svc"`]),
    },
  ]),
  ...row('A11', 'prowler-cloud/prowler#12691', 'pulled', [
    {
      name: 'Basic and Bearer in one field',
      set: says('bearer', (realm) => `Basic realm="r", Bearer realm="${realm}",service="svc"`),
    },
    {
      name: 'Basic and Bearer in two fields',
      set: says('bearer', (realm) => ['Basic realm="r"', `Bearer realm="${realm}",service="svc"`]),
    },
    {
      name: 'Negotiate before Bearer',
      set: says('bearer', (realm) => `Negotiate, Bearer realm="${realm}",service="svc"`),
    },
    { name: 'a comma at the end', set: says('bearer', (realm) => `Bearer realm="${realm}",service="svc",`) },
    { name: 'no service', set: says('bearer', (realm) => `Bearer realm="${realm}"`) },
    {
      name: 'two scopes in one',
      set: says(
        'bearer',
        (realm) => `Bearer realm="${realm}",service="svc",scope="repository:team/app:pull repository:b:pull"`,
      ),
    },
  ]),
  ...row('A12', 'Finsys/dockhand#1428, moby/moby#38662', 'pulled', [
    ...[301, 302, 307, 308].map((status) => ({
      name: `the token server answers ${status}`,
      set: movedToken(status),
    })),
    { name: 'the token server answers 307 with a relative Location', set: movedToken(307, true) },
  ]),
  ...row('A13', 'Finsys/dockhand#1428, moby/moby#38662', 'pulled', [
    { name: 'the http token server leads to https, anonymous', set: (scope) => upwards(scope, true) },
    {
      name: 'the http token server leads to https on the same host, with a password',
      set: samePlace,
    },
    {
      name: 'the http token server leads to https on another port, with a password',
      right: { exit: 3, says: /./ },
      set: (scope) => upwards(scope, false),
    },
  ]),
  ...row('A14', 'token servers of many makers', 'pulled', [
    { name: 'access_token only', set: tokenBody((access_token) => ({ access_token })) },
    {
      name: 'an empty token beside access_token',
      set: tokenBody((access_token) => ({ token: '', access_token })),
    },
    {
      name: 'a null token beside access_token',
      set: tokenBody((access_token) => ({ token: null, access_token })),
    },
    ...[undefined, 0, -1, '300', 299.5].map((expires_in) => ({
      name: `expires_in ${expires_in === undefined ? 'missing' : JSON.stringify(expires_in)}`,
      set: tokenBody((it) => ({ token: it, expires_in })),
    })),
    {
      name: 'an odd issued_at',
      set: tokenBody((it) => ({ token: it, expires_in: 300, issued_at: 'yesterday' })),
    },
    { name: 'text/html', set: token((_, reply) => void reply.set('Content-Type', 'text/html')) },
    { name: 'chunked', set: token((_, reply) => void (reply.framing = 'chunked')) },
  ]),
  ...row('A15', 'quay/quay#1310, npm/registry-issue-archive#80', 'pulled', [
    { name: 'the token in gzip', set: token((_, reply) => zipped(reply)) },
    {
      name: 'the manifest in gzip though nobody asked',
      set: (scope) => oddInput(scope, { manifest: (_, reply) => zipped(reply) }),
    },
    {
      name: 'config and layers in gzip though nobody asked',
      set: (scope) => oddInput(scope, { blob: (_, reply) => zipped(reply) }),
    },
  ]),
  ...row('A16', 'token servers of many makers', { exit: 1, says: /token/ }, [
    { name: 'the token under 201', set: token((_, reply) => void (reply.status = 201)) },
    { name: 'the token under 203', set: token((_, reply) => void (reply.status = 203)) },
    {
      name: 'a byte order mark before the token',
      set: token((_, reply) => void (reply.body = Buffer.concat([Buffer.from('\ufeff'), reply.body]))),
    },
    { name: 'a line break in the token', set: tokenBody((it) => ({ token: `${it}\n` })) },
  ]),
  ...row('A17', 'Azure Container Registry', 'pulled', [
    { name: 'an identity token is exchanged by POST', set: identity(() => undefined) },
    {
      name: 'an identity token is refused',
      right: { exit: 3, says: /./ },
      set: identity(() => refusal(401, 'DENIED')),
    },
    ...[404, 405].map((status) => ({
      name: `the POST of an identity token is answered with ${status}`,
      right: { exit: 1, says: new RegExp(`token server .* answers ${status}`) },
      set: identity(() => refusal(status, 'UNSUPPORTED')),
    })),
  ]),
  ...row('A18', 'containerd/containerd#5503, moby/moby#45333', 'pulled', [
    { name: 'all of /v2/ leads to another host, anonymous token there', set: elsewhere },
  ]),
  ...row('A19', 'penpot/penpot#10776', 'pulled', [
    {
      name: 'storage of the same host refuses Authorization',
      set: (scope) => signedStorage(scope, 'same host'),
    },
  ]),
  ...row('A20', 'penpot/penpot#10776', 'pulled', [
    {
      name: 'storage on another port refuses Authorization',
      set: (scope) => signedStorage(scope, 'another port'),
    },
  ]),
];
