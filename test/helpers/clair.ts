// A stand-in for Clair v4, which no registry of packages has: it answers as its OpenAPI document and its handlers
// (httptransport/indexer_v1.go, matcher_v1.go, middleware/auth/httpauth_psk.go) do, as disorderly as they. It really
// fetches the layers and really reads dpkg's list of packages in them; only its vulnerabilities are a test's.
import { createHash, createHmac, randomInt, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { text as textOf } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';
import { startServer } from './http-server.ts';
import type { Scope } from './processes.ts';

/** A flaw of a package, as a test knows it. */
export interface Flaw {
  readonly name: string;
  /** `normalized_severity`, or anything else that a test wants there. */
  readonly severity: string;
  /** Put behind the installed version; absent for a flaw that nothing mends. */
  readonly fixed?: string;
  readonly cvss?: number;
  readonly description?: string;
  readonly links?: string;
}

interface Manifest {
  readonly hash: string;
  readonly layers: readonly {
    readonly hash: string;
    readonly uri: string;
    readonly headers?: Readonly<Record<string, readonly string[]>>;
  }[];
}

/** How the stand-in behaves; a test may change it at any time. */
export interface ClairBehaviour {
  /** `auth.psk`: with it, only requests with a signed token are answered. */
  psk?: { readonly key: Uint8Array; readonly issuers: readonly string[] };
  /** The index is answered before it is made, and its states are to be seen by asking again. */
  early: boolean;
  /** How often the index is refused with 429 because others are being made. */
  busy: number;
  /** How often the matcher answers 202 because its databases are not read yet. */
  loading: number;
  /** Milliseconds that each state of an index takes. */
  stepMs: number;
  /** What a failed index looks like: 500 for the request, or a report with the state IndexError. */
  failure: 'status' | 'report';
  /** The last word on an answer: true where it has answered itself. */
  intercept?: (request: IncomingMessage, response: ServerResponse) => boolean;
}

export interface ClairStandIn {
  readonly url: string;
  readonly host: string;
  readonly behaviour: ClairBehaviour;
  /** `METHOD /path` */
  readonly requests: string[];
  /** Every layer that was fetched, and what was sent with it. */
  readonly fetched: { readonly uri: string; readonly headers: Readonly<Record<string, string>> }[];
  /** By name of the package; changed, it is a new version of the database. */
  flaws: Readonly<Record<string, readonly Flaw[]>>;
  /** The indexers are changed: what was indexed before has to be indexed again. */
  changeIndexers(): void;
}

interface Index {
  state: string;
  success: boolean;
  err: string;
  readonly indexers: string;
  packages: readonly { readonly name: string; readonly version: string; readonly layer: string }[];
}

const STATES = ['CheckManifest', 'FetchLayers', 'ScanLayers', 'Coalesce', 'IndexManifest'];
const CVSS =
  'message/vnd.clair.map.vulnerability; enricher=clair.cvss schema=https://csrc.nist.gov/schema/nvd/feed/1.1/cvss-v3.x.json';

export async function startClair(
  scope: Scope,
  flaws: Readonly<Record<string, readonly Flaw[]>> = {},
): Promise<ClairStandIn> {
  const indexes = new Map<string, Index>();
  let indexers = 1;
  const closing = new AbortController();
  scope.after(() => closing.abort());

  const server = await startServer(scope, (request, response) => {
    void answer(request, response).catch((error: unknown) => {
      if (!response.headersSent) fail(response, 500, String(error));
      else response.destroy();
    });
  });
  const clair: ClairStandIn = {
    url: server.url,
    host: server.host,
    behaviour: { early: false, busy: 0, loading: 0, stepMs: 0, failure: 'report' },
    requests: [],
    fetched: [],
    flaws,
    changeIndexers: () => void (indexers += 1),
  };
  const state = (): string => createHash('md5').update(`indexers ${indexers}`).digest('hex');
  return clair;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { behaviour } = clair;
    const path = request.url ?? '';
    clair.requests.push(`${request.method} ${path}`);
    if (behaviour.intercept?.(request, response) === true) return;
    if (behaviour.psk !== undefined && !isSigned(request, behaviour.psk)) {
      response.writeHead(401).end();
      return;
    }
    const etag = `"${state()}"`;
    const isUnmodified = request.headers['if-none-match'] === etag;
    const [, room, rest = ''] = /^\/(indexer|matcher)\/api\/v1\/(.*)$/.exec(path) ?? [];
    const [word = '', digest] = rest.split('/');
    if (room === 'indexer' && word === 'index_state' && request.method === 'GET') {
      response.setHeader('etag', etag);
      if (isUnmodified) response.writeHead(304).end();
      else json(response, 200, { state: state() });
      return;
    }
    if (room === 'indexer' && word === 'index_report' && request.method === 'POST' && digest === undefined) {
      return index(request, response, etag);
    }
    if (digest !== undefined && !/^sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})$/.test(digest)) {
      return fail(response, 400, `malformed path: ${digest}`);
    }
    if (room === 'indexer' && word === 'index_report' && request.method === 'GET' && digest !== undefined) {
      // Before it is looked for, as in Clair: 304 for what it has never seen.
      if (isUnmodified) return void response.writeHead(304).end();
      const known = indexes.get(digest);
      if (known === undefined) return fail(response, 404, 'index report not found');
      response.setHeader('etag', etag);
      return json(response, 200, indexReport(digest, known));
    }
    if (room === 'matcher' && word === 'vulnerability_report' && digest !== undefined) {
      if (behaviour.loading > 0) {
        behaviour.loading -= 1;
        return void response.writeHead(202).end();
      }
      const known = indexes.get(digest);
      if (known === undefined) return fail(response, 404, `index report for manifest "${digest}" not found`);
      return json(response, 200, vulnerabilityReport(digest, known, clair.flaws));
    }
    fail(response, 404, 'page not found');
  }

  async function index(request: IncomingMessage, response: ServerResponse, etag: string): Promise<void> {
    const { behaviour } = clair;
    const manifest = JSON.parse(await textOf(request)) as Manifest;
    if (behaviour.busy > 0) {
      behaviour.busy -= 1;
      response.setHeader('retry-after', '0');
      return fail(response, 429, 'server handling too many requests');
    }
    if (!/^sha256:[0-9a-f]{64}$/.test(manifest.hash) || manifest.layers.length === 0) {
      return fail(response, 400, 'bogus manifest');
    }
    const known = indexes.get(manifest.hash);
    const isDone = known?.state === 'IndexFinished' && known.indexers === state();
    const made: Index = isDone
      ? known
      : { state: 'CheckManifest', success: false, err: '', indexers: state(), packages: [] };
    indexes.set(manifest.hash, made);
    const work = isDone ? Promise.resolve() : makeIndex(manifest, made);
    if (behaviour.early) work.catch(() => undefined);
    else await work;
    if (made.state === 'IndexError' && behaviour.failure === 'status') {
      return fail(response, 500, `failed to start scan: ${made.err}`);
    }
    response.setHeader('etag', etag);
    response.setHeader('location', `/indexer/api/v1/index_report/${manifest.hash}`);
    json(response, 201, indexReport(manifest.hash, made));
  }

  async function makeIndex(manifest: Manifest, made: Index): Promise<void> {
    const { stepMs } = clair.behaviour;
    try {
      for (const step of STATES) {
        made.state = step;
        if (stepMs > 0) await sleep(stepMs, undefined, { signal: closing.signal });
        if (step !== 'FetchLayers') continue;
        const found = new Map<string, Index['packages'][number]>();
        for (const layer of manifest.layers) {
          for (const each of await packagesIn(layer, clair)) {
            const key = `${each.name} ${each.version}`;
            if (!found.has(key)) found.set(key, { ...each, layer: layer.hash });
          }
        }
        made.packages = [...found.values()];
      }
      made.state = 'IndexFinished';
      made.success = true;
    } catch (error) {
      made.state = 'IndexError';
      made.err = error instanceof Error ? error.message : String(error);
    }
  }
}

async function packagesIn(
  { hash, uri, headers = {} }: Manifest['layers'][number],
  clair: ClairStandIn,
): Promise<{ name: string; version: string }[]> {
  const sent = Object.fromEntries(Object.entries(headers).map(([name, values]) => [name, values.join(', ')]));
  clair.fetched.push({ uri, headers: sent });
  const got = await fetch(uri, { headers: sent });
  if (!got.ok || got.body === null) {
    throw new Error(`failed to fetch layers: fetcher: unexpected status code: ${got.status}`);
  }
  const digest = createHash('sha256');
  const tar = extract();
  let text = '';
  tar.on('entry', (header, stream, next) => {
    const chunks: Buffer[] = [];
    const isStatus = /^(?:\.\/)?var\/lib\/dpkg\/status$/.test(header.name);
    stream.on('data', (chunk) => {
      if (isStatus) chunks.push(chunk as Buffer);
    });
    stream.on('end', () => {
      if (isStatus) text = Buffer.concat(chunks).toString();
      next();
    });
  });
  const plain = createGunzip();
  const done = pipeline(plain, tar);
  for await (const chunk of Readable.fromWeb(got.body)) {
    digest.update(chunk as Buffer);
    if (!plain.write(chunk)) await once(plain, 'drain');
  }
  plain.end();
  await done;
  if (`sha256:${digest.digest('hex')}` !== hash) throw new Error('failed to fetch layers: validation failed');
  return [...text.matchAll(/^Package: (\S+)\n(?:.+\n)*?Version: (.*)$/gm)].map(
    ([, name = '', version = '']) => ({
      name,
      version,
    }),
  );
}

function indexReport(hash: string, { state, success, err, packages }: Index): object {
  const ids = shuffled(packages).map((each) => ({ ...each, id: String(randomInt(1, 2 ** 40)) }));
  return {
    manifest_hash: hash,
    state,
    packages: byId(ids, ({ id, name, version }) => packageOf(id, name, version)),
    distributions: {},
    repository: {},
    environments: byId(ids, ({ layer }) => [environment(layer)]),
    success,
    err,
  };
}

/** IDs and the order of everything are others at each request, as those of Go's maps and of a database are. */
function vulnerabilityReport(
  hash: string,
  { packages }: Index,
  flaws: Readonly<Record<string, readonly Flaw[]>>,
): object {
  const ids = shuffled(packages).map((each) => ({ ...each, id: String(randomInt(1, 2 ** 40)) }));
  const found: { id: string; of: string; flaw: Flaw; version: string; packageName: string }[] = [];
  for (const { id, name, version } of ids) {
    for (const flaw of Object.hasOwn(flaws, name) ? (flaws[name] ?? []) : []) {
      // Once for each repository whose data has it.
      for (let times = randomInt(1, 3); times > 0; times--) {
        found.push({ id: String(randomInt(1, 2 ** 40)), of: id, flaw, version, packageName: name });
      }
    }
  }
  const mixed = shuffled(found);
  const scored = mixed.filter(({ flaw }) => flaw.cvss !== undefined);
  const scores = byId(scored, ({ flaw }) => [
    { version: '3.1', vectorString: 'CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H', baseScore: flaw.cvss },
    { version: '3.0', baseScore: 0.1 },
  ]);
  return {
    manifest_hash: hash,
    packages: byId(ids, ({ id, name, version }) => packageOf(id, name, version)),
    distributions: { '1': { id: '1', did: 'debian', name: 'Debian GNU/Linux', version_id: '12' } },
    repository: {},
    environments: byId(ids, ({ layer }) => [environment(layer)]),
    vulnerabilities: byId(mixed, ({ id, flaw, version, packageName }) => ({
      id,
      updater: 'debian/updater',
      name: flaw.name,
      description: flaw.description ?? '',
      issued: '2026-01-01T00:00:00Z',
      links: flaw.links ?? '',
      severity: flaw.severity.toLowerCase(),
      normalized_severity: flaw.severity,
      package: { id: '', name: packageName, version: '', kind: 'binary' },
      fixed_in_version: flaw.fixed === undefined ? '' : `${version}${flaw.fixed}`,
    })),
    package_vulnerabilities: Object.fromEntries(
      [...Map.groupBy(mixed, ({ of }) => of)].map(([id, each]) => [id, each.map((one) => one.id)]),
    ),
    enrichments: Object.keys(scores).length === 0 ? {} : { [CVSS]: [scores] },
  };
}

function packageOf(id: string, name: string, version: string): object {
  const source = { id: String(randomInt(1, 2 ** 40)), name, version, kind: 'source', source: null };
  return { id, name, version, kind: 'binary', source, arch: 'amd64', cpe: '' };
}

function environment(layer: string): object {
  return {
    package_db: 'var/lib/dpkg/status',
    introduced_in: layer,
    distribution_id: '1',
    repository_ids: null,
  };
}

function byId<Item extends { readonly id: string }>(
  items: readonly Item[],
  value: (item: Item) => unknown,
): Record<string, unknown> {
  return Object.fromEntries(items.map((item) => [item.id, value(item)]));
}

function shuffled<Item>(items: readonly Item[]): Item[] {
  return items
    .map((item) => ({ item, at: Math.random() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

/** As Clair's PSK.Check does: signature, times with a leeway of 15 s, issuer. */
function isSigned(
  { headers }: IncomingMessage,
  { key, issuers }: NonNullable<ClairBehaviour['psk']>,
): boolean {
  const [head = '', body = '', signature = ''] = (headers.authorization ?? '')
    .replace(/^Bearer /, '')
    .split('.');
  const wanted = createHmac('sha256', key).update(`${head}.${body}`).digest();
  const given = Buffer.from(signature, 'base64url');
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return false;
  const part = (text: string): Record<string, unknown> =>
    JSON.parse(Buffer.from(text, 'base64url').toString()) as Record<string, unknown>;
  const { iss, exp, nbf, iat } = part(body);
  const now = Date.now() / 1000;
  return (
    part(head)['alg'] === 'HS256' &&
    issuers.includes(String(iss)) &&
    Number(exp) > now - 15 &&
    Number(nbf ?? 0) < now + 15 &&
    Number(iat ?? 0) < now + 15
  );
}

function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

function fail(response: ServerResponse, status: number, message: string): void {
  const code = status === 404 ? 'not-found' : status === 400 ? 'bad-request' : 'internal-error';
  json(response, status, { code, message });
}
