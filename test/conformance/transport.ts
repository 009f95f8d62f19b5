import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { digestOf, DOCKER, oddImage, oddLayer, type OddImage } from '../helpers/odd-images.ts';
import {
  OddReply,
  refusal,
  startOddRegistry,
  type OddRegistryOptions,
  type OddRequest,
} from '../helpers/odd-registry.ts';
import { file, oddTar } from '../helpers/odd-tar.ts';
import { oddInput, row, salt, simple, type Case } from './case.ts';

const odd =
  (options: OddRegistryOptions, image?: () => OddImage): Case['set'] =>
  (scope) =>
    oddInput(scope, options, image === undefined ? {} : { image: image() });

const succeeded = ({ status }: OddReply): boolean => status === 200 || status === 206;
type Change = (reply: OddReply, request: OddRequest) => OddReply | undefined | void;
/** Changes every answer that carries a blob, or a manifest. */
const blobs = (change: Change): Case['set'] =>
  odd({ blob: (request, reply) => (succeeded(reply) ? change(reply, request) : undefined) });
const manifests = (change: Change): Case['set'] =>
  odd({ manifest: (request, reply) => (succeeded(reply) ? change(reply, request) : undefined) });
const twice =
  (name: string): Change =>
  (reply) =>
    void reply.add(name, reply.get(name) ?? '');
const labelled =
  (encoding: string): Change =>
  (reply) =>
    void reply.set('Content-Encoding', encoding);

/** Blobs lie elsewhere; `location` makes the address from the right one. */
const stored = (location: (url: string) => string, status = 307, storage?: Change): Case['set'] =>
  odd({
    before: (request, registry) => {
      if (!request.path.startsWith('/storage/')) return undefined;
      const blob = registry.blobs.get(decodeURIComponent(request.path.split('/').at(-1) ?? ''));
      if (blob === undefined) return refusal(404, 'NoSuchKey');
      const reply = registry.blobReply(request, blob);
      return storage?.(reply, request) ?? reply;
    },
    blob: ({ reference }, reply, { url }) =>
      succeeded(reply)
        ? new OddReply(status, { Location: location(`${url}/storage/${reference}`) })
        : undefined,
  });

const chain = (length: number): Case['set'] =>
  odd({
    before: (request, registry) => {
      const [, left, digest = ''] = /^\/hop\/(\d+)\/(.+)$/.exec(request.path) ?? [];
      if (left === undefined) return undefined;
      const blob = registry.blobs.get(digest);
      if (left !== '0') return new OddReply(307, { Location: `/hop/${Number(left) - 1}/${digest}` });
      return blob === undefined ? refusal(404, 'NoSuchKey') : registry.blobReply(request, blob);
    },
    blob: ({ reference }, reply) =>
      succeeded(reply) ? new OddReply(307, { Location: `/hop/${length - 1}/${reference}` }) : undefined,
  });

/** The first request of a kind is answered otherwise. */
const once = (kind: 'manifest' | 'blob', first: () => OddReply): Case['set'] => {
  let asked = 0;
  return odd({ [kind]: () => (asked++ === 0 ? first() : undefined) });
};

const named =
  (repository: string, tag = '1'): Case['set'] =>
  async (scope) => {
    const registry = await startOddRegistry(scope);
    const image = simple();
    return { reference: registry.put(repository, tag, image), image };
  };

const manifestType =
  (mediaType: string): Change =>
  (reply) =>
    void reply.set('Content-Type', mediaType);

export const TRANSPORT: readonly Case[] = [
  ...row('C1', 'moby/moby#17595, transmission/transmission#753', 'pulled', [
    { name: 'blobs as they are, labelled x-gzip', set: blobs(labelled('x-gzip')) },
  ]),
  ...row('C2', 'versity/versitygw#2398, noobaa/noobaa-core#9138, ceph/s3-tests#671', 'pulled', [
    { name: 'blobs labelled aws-chunked', set: blobs(labelled('aws-chunked')) },
  ]),
  ...row('C3', 'brendanhay/amazonka#681, awslabs/aws-sdk-kotlin#1358', 'pulled', [
    { name: 'an empty Content-Encoding', set: blobs(labelled('')) },
    { name: 'Content-Encoding identity', set: blobs(labelled('identity')) },
  ]),
  ...row('C4', 'neighbour of C1', 'pulled', [
    {
      name: 'blobs in gzip, and labelled so',
      set: blobs((reply) => {
        reply.body = gzipSync(reply.body);
        reply.set('Content-Encoding', 'gzip');
      }),
    },
    {
      name: 'plain layers as they are, labelled gzip',
      // docker, podman, skopeo and crane fail here: Go's client undoes gzip by the label. The digest says better.
      set: odd({ blob: (_, reply) => (succeeded(reply) ? void labelled('gzip')(reply, _) : undefined) }, () =>
        oddImage([oddLayer(oddTar([salt(2000)]), { compression: 'none' })]),
      ),
    },
  ]),
  ...row(
    'C5',
    'serverless-registry-proxy#10, cloudflared#500, docker-registry-proxy#84, moby/moby#31318',
    'pulled',
    [
      { name: 'blobs chunked', set: blobs((reply) => void (reply.framing = 'chunked')) },
      { name: 'blobs until the connection ends', set: blobs((reply) => void (reply.framing = 'close')) },
      { name: 'manifests chunked', set: manifests((reply) => void (reply.framing = 'chunked')) },
      ...([undefined, 'application/json', 'application/octet-stream', 'text/plain'] as const).map((type) => ({
        name: `manifests as ${type ?? 'nothing'}`,
        set: manifests((reply) => void reply.set('Content-Type', type)),
      })),
    ],
  ),
  ...row('C6', 'docker/docs#351, distribution/distribution#1971', 'pulled', [
    { name: 'Docker-Content-Digest twice', set: manifests(twice('Docker-Content-Digest')) },
    { name: 'Content-Type of manifests twice', set: manifests(twice('Content-Type')) },
    { name: 'Content-Type of blobs twice', set: blobs(twice('Content-Type')) },
    {
      name: 'Content-Encoding identity twice',
      set: blobs(
        (reply) => void reply.add('Content-Encoding', 'identity').add('Content-Encoding', 'identity'),
      ),
    },
  ]),
  ...row('C7', 'distribution/distribution#505, #3848, quay/quay#1310', 'pulled', [
    {
      name: 'no Docker-Content-Digest',
      set: manifests((reply) => void reply.set('Docker-Content-Digest', undefined)),
    },
    {
      name: 'Docker-Content-Digest in quotes',
      set: manifests((reply) => void reply.set('Docker-Content-Digest', `"${digestOf(reply.body)}"`)),
    },
    {
      name: 'Docker-Content-Digest without its algorithm',
      set: manifests((reply) => void reply.set('Docker-Content-Digest', digestOf(reply.body).slice(7))),
    },
    {
      name: 'Docker-Content-Digest in sha512',
      set: manifests((reply) => void reply.set('Docker-Content-Digest', digestOf(reply.body, 'sha512'))),
    },
  ]),
  ...row('C8', 'caches', 'pulled', [
    {
      name: 'by tag, Docker-Content-Digest of another manifest',
      set: manifests((reply) => void reply.set('Docker-Content-Digest', `sha256:${'0'.repeat(64)}`)),
    },
  ]),
  ...row('C9', 'registries of many makers', 'pulled', [
    {
      name: 'a charset in Content-Type',
      set: manifests(
        (reply) => void reply.set('Content-Type', `${reply.get('Content-Type')}; charset=utf-8`),
      ),
    },
    {
      name: 'Content-Type in upper case',
      set: manifests((reply) => void reply.set('Content-Type', reply.get('Content-Type')?.toUpperCase())),
    },
    {
      name: 'manifests led elsewhere by 302',
      set: odd({
        manifest: ({ query, target }, reply) =>
          succeeded(reply) && query === ''
            ? new OddReply(302, { Location: `${target}?signed=1` })
            : undefined,
      }),
    },
    {
      name: 'HEAD of manifests 405',
      set: odd({
        manifest: ({ method }) => (method === 'HEAD' ? refusal(405, 'UNSUPPORTED') : undefined),
      }),
    },
    { name: 'an ETag', set: manifests((reply) => void reply.add('ETag', 'W/"x"')) },
    ...[404, 403, 500].map((status) => ({
      name: `/v2/ answers ${status}`,
      set: odd({ ping: () => refusal(status, 'NO') }),
    })),
    {
      name: '/v2/ is a page',
      set: odd({ ping: () => new OddReply(200, { 'Content-Type': 'text/html' }, '<html>') }),
    },
    {
      name: '/v2/ leads to another path by 301',
      set: odd({ ping: () => new OddReply(301, { Location: '/elsewhere/' }) }),
    },
  ]),
  ...row('C10', 'registries of many makers', { exit: 1, says: /./ }, [
    { name: "an OCI manifest under Docker's type", set: manifests(manifestType(DOCKER.manifest)) },
    {
      name: "a manifest under schema 1's type",
      set: manifests(manifestType('application/vnd.docker.distribution.manifest.v1+prettyjws')),
    },
    {
      name: 'a page in place of the manifest',
      set: manifests(() => new OddReply(200, { 'Content-Type': 'text/html' }, '<html>')),
    },
  ]),
  ...row('C11', 'storage of many makers', 'pulled', [
    { name: 'a relative Location', set: stored((url) => new URL(url).pathname) },
    { name: 'a Location without a scheme', set: stored((url) => url.replace(/^http:/, '')) },
    {
      name: 'Location twice',
      set: odd({
        before: (request, registry) => {
          const blob = request.path.startsWith('/storage/')
            ? registry.blobs.get(request.path.split('/').at(-1) ?? '')
            : undefined;
          return blob === undefined ? undefined : registry.blobReply(request, blob);
        },
        blob: ({ reference }, reply, { url }) =>
          succeeded(reply)
            ? new OddReply(307)
                .add('Location', `${url}/storage/${reference}`)
                .add('Location', `${url}/storage/${reference}`)
            : undefined,
      }),
    },
    { name: 'a fragment in Location', set: stored((url) => `${url}#fragment`) },
    { name: 'a raw space in Location', set: stored((url) => `${url}?name=a b`) },
    { name: '%2B and ; in Location', set: stored((url) => `${url}?X-Amz-Signature=a%2Bb%3D;c`) },
    ...[301, 302, 303, 308].map((status) => ({
      name: `blobs led elsewhere by ${status}`,
      set: stored((url) => url, status),
    })),
    {
      name: 'storage chunked',
      set: stored(
        (url) => url,
        307,
        (reply) => void (reply.framing = 'chunked'),
      ),
    },
    {
      name: 'storage until the connection ends',
      set: stored(
        (url) => url,
        307,
        (reply) => void (reply.framing = 'close'),
      ),
    },
    {
      name: '206 for the whole though nobody asked for a part',
      set: blobs((reply) => {
        if (reply.status !== 200) return;
        reply.status = 206;
        reply.set('Content-Range', `bytes 0-${reply.body.length - 1}/${reply.body.length}`);
      }),
    },
  ]),
  ...row('C12', 'storage of many makers', { exit: 1, says: /./ }, [
    { name: '7 redirects', set: chain(7) },
    { name: 'blobs under 201', set: blobs((reply) => void (reply.status = 201)) },
    { name: 'blobs under 203', set: blobs((reply) => void (reply.status = 203)) },
    {
      name: '206 without Content-Range though nobody asked for a part',
      set: blobs((reply) => {
        reply.status = 206;
        reply.set('Content-Range', undefined);
      }),
    },
  ]),
  ...row('C13', 'registries of many makers', 'pulled', [
    {
      name: '429 with a page, once',
      set: once('manifest', () => new OddReply(429, { 'Content-Type': 'text/html' }, '<html>')),
    },
    { name: '503 once', set: once('manifest', () => refusal(503, 'UNAVAILABLE')) },
    { name: 'blobs 503 once', set: once('blob', () => refusal(503, 'UNAVAILABLE')) },
    {
      name: 'cookies',
      set: odd({ all: (_, reply) => void reply.add('Set-Cookie', 'session=1; Path=/; HttpOnly') }),
    },
    {
      name: 'storage URLs that are good for one use',
      set: async (scope) => {
        const used = new Set<string>();
        let given = 0;
        return oddInput(scope, {
          before: (request, registry) => {
            if (!request.path.startsWith('/once/')) return undefined;
            if (used.has(request.target)) return refusal(403, 'Expired');
            used.add(request.target);
            const blob = registry.blobs.get(request.path.split('/').at(-1) ?? '');
            return blob === undefined ? refusal(404, 'NoSuchKey') : registry.blobReply(request, blob);
          },
          blob: ({ reference }, reply) =>
            succeeded(reply)
              ? new OddReply(307, { Location: `/once/${(given += 1)}/${reference}` })
              : undefined,
        });
      },
    },
  ]),
  ...row('C19', 'neighbours', 'pulled', [
    {
      name: 'IPv6',
      set: (scope) => oddInput(scope, { address: '::1' }),
    },
    {
      name: 'IPv6, into a Docker that knows no such names',
      right: { exit: 5, says: /takes no name with an IPv6 address/ },
      into: 'docker',
      set: (scope) => oddInput(scope, { address: '::1' }),
    },
    { name: 'a tag of 128 characters', set: named('team/app', 'T'.repeat(128)) },
    { name: 'names with . __ and --', set: named('a.b/c__d/e--f') },
    { name: 'six components', set: named('a/b/c/d/e/f') },
    ...['manifests', 'blobs', 'tags/list'].map((name) => ({
      name: `${name} in the name`,
      set: named(`team/${name}/app`),
    })),
    {
      name: 'LOCALHOST in upper case',
      set: async (scope) => {
        const input = await oddInput(scope);
        return { ...input, reference: `LOCALHOST:${input.registry.port}/team/app:1` };
      },
    },
  ]),
  ...row('C21', 'storage of many makers', 'pulled', [
    {
      name: 'storage signs for GET only',
      set: stored(
        (url) => url,
        307,
        (reply, { method }) => (method === 'HEAD' ? refusal(403, 'SignatureDoesNotMatch') : reply),
      ),
    },
    { name: 'storage ignores Range', set: odd({ ranges: false }) },
    {
      name: 'a total of *',
      set: blobs(
        (reply) => void reply.set('Content-Range', reply.get('Content-Range')?.replace(/\d+$/, '*')),
      ),
    },
    {
      name: '501 to a range',
      set: odd({
        blob: ({ headers }) => (headers.range === undefined ? undefined : refusal(501, 'NotImplemented')),
      }),
    },
  ]),
  ...row('C22', 'storage of many makers', 'pulled', [
    {
      name: '416 to every range',
      set: odd(
        {
          blob: ({ headers }) =>
            headers.range === undefined ? undefined : new OddReply(416, { 'Content-Range': 'bytes */0' }),
        },
        () => oddImage([oddLayer(oddTar([file('big', randomBytes(3 << 20))]))]),
      ),
    },
  ]),
];
