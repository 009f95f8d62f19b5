import type { Downloads } from '../blobs/downloads.ts';
import type { Http } from '../http/http.ts';
import { resource } from '../http-server/path.ts';
import { refuse, send, sendJson, type RequestContext, type Route } from '../http-server/request-context.ts';
import { router } from '../http-server/router.ts';
import { listen, type ListenPlace } from '../http-server/server.ts';
import { Shares } from '../http-server/shares.ts';
import type { Store } from '../store/store.ts';
import type { OwnCredential } from '../upstream/service-credential-upstream.ts';
import { answerBlob } from './blob-route.ts';
import { CacheKeeper } from './cache-keeper.ts';
import { showsSecret, type MirrorIdentity } from './identity.ts';
import { answerManifest } from './manifest-route.ts';
import type { MirrorContext, MirrorListener } from './mirror-context.ts';
import { MirroredRegistry, shownAuthorization } from './mirrored-registry.ts';
import { passOn } from './pass-on.ts';
import { BASIC_CHALLENGE } from './refusals.ts';
import { SECRET_HEADER } from './settings/settings-request.ts';
import { targetOf, type AccessForm, type Target } from './target.ts';

/** Bodies of blobs at one time, 256 KiB each. All callers are on this machine, so they are one site. */
const READERS = { most: 64, mostEach: 64 };

export interface MirrorOptions {
  /** On loopback: what engines show is not for the network. */
  readonly listen: ListenPlace;
  /** By which engines know it; undefined for plain HTTP. */
  readonly identity: MirrorIdentity | undefined;
  /** `--node-auth`: what this node itself may pull, for those engines alone that show the identity's secret. */
  readonly nodeAuth: OwnCredential | undefined;
  /** As in references -> where torrents of its blobs are asked for. */
  readonly registries: ReadonlyMap<string, URL>;
  readonly insecure: boolean;
  /** The longest silence towards an engine while any source has a byte, milliseconds. */
  readonly stallMs: number;
  /** How long a granted permission serves while a registry does not answer, milliseconds. */
  readonly permissionGraceMs: number;
  readonly http: Http;
  /** Thumbprint of the key by which peers know this node. */
  readonly nodeKey: () => Promise<string>;
  readonly store: Store;
  /** Bytes; undefined for the limit that the store has, else a tenth of the disk and at most 20 GiB. */
  readonly cacheSize: number | undefined;
  /** Where engines of this machine keep each blob under its digest in hex: what both hold is one file. */
  readonly contentStores: readonly string[];
  /** Downloads that nobody wants any more should linger, as an engine may come back for them. */
  readonly downloads: Downloads;
  readonly listener: MirrorListener;
}

/** A mirror that answers. */
export interface Mirror {
  readonly url: string;
  /** Refuses new connections and lets answers under way end, for some seconds. */
  close(): Promise<void>;
}

/**
 * A registry on loopback, asked by the engines of this machine in place of the registries that it mirrors. Every answer
 * is given with the caller's own right, and every error makes an engine ask the registry itself.
 * @throws QuayctlError `port`
 */
export async function startMirror(options: MirrorOptions): Promise<Mirror> {
  const { store, downloads, listener, stallMs, http, insecure, permissionGraceMs, nodeKey, nodeAuth } =
    options;
  const registries = new Map(
    [...options.registries].map(([name, service]) => [
      name,
      new MirroredRegistry({
        ...{ name, service, insecure, http, store, permissionGraceMs, nodeKey, nodeAuth },
        listener: (event) => {
          if (event.kind !== 'progress') listener(event);
        },
      }),
    ]),
  );
  const closing = new AbortController();
  const { cacheSize: limit, contentStores } = options;
  const keeper = new CacheKeeper({ store, downloads, listener, limit, contentStores }, closing.signal);
  keeper.keep();
  const context: MirrorContext = {
    ...{ store, downloads, listener, stallMs, keeper },
    readers: new Shares(READERS),
    refusedUntil: new Map(),
    recordedAt: new Map(),
  };
  const { identity } = options;
  /** Docker shows a mirror no credential; that it reads root's file is shown by the secret. */
  const formFor = ({ form }: Target, { request: { headers } }: RequestContext): AccessForm => {
    const shown = headers[SECRET_HEADER.toLowerCase()];
    const isNode = nodeAuth !== undefined && identity !== undefined && form === 'ns';
    if (!isNode || typeof shown !== 'string' || headers.authorization !== undefined) return form;
    return showsSecret(shown, identity) ? 'node' : form;
  };
  const tls = identity === undefined ? undefined : { cert: identity.certificate, key: identity.key };
  const server = await listen({ place: options.listen, tls, isProxy: () => false }, () =>
    router({
      routes: new Map<string, Route>([
        ['v2', (exchange) => answerV2(context, registries, formFor, exchange)],
        ['healthz', (exchange) => sendJson(exchange, 200, { registries: [...registries.keys()] })],
      ]),
      listener,
      clientOf: ({ socket }) => socket.remoteAddress ?? '',
      closing: closing.signal,
      unbounded: new Set(['healthz']),
    }),
  );
  return {
    url: server.url,
    close: async () => {
      closing.abort();
      await server.close();
    },
  };
}

async function answerV2(
  context: MirrorContext,
  registries: ReadonlyMap<string, MirroredRegistry>,
  formFor: (target: Target, exchange: RequestContext) => AccessForm,
  exchange: RequestContext,
): Promise<void> {
  if (isPing(exchange)) return answerPing(exchange);
  const target = targetOf(exchange, new Set(registries.keys()));
  const registry = target === undefined ? undefined : registries.get(target.registry);
  if (target === undefined || registry === undefined) {
    return refuse(exchange, 404, 'NAME_UNKNOWN', 'this mirror stands for other registries (--registry)');
  }
  const wanted = resource(target.components);
  if (wanted === undefined) return refuse(exchange, 404, 'UNSUPPORTED', 'no such path under /v2/');
  const authorization = shownAuthorization(exchange.request.headers.authorization);
  const request = { exchange, registry, form: formFor(target, exchange), authorization };
  if (wanted.kind === 'manifest') return answerManifest(request, wanted);
  if (wanted.kind === 'blob') return answerBlob(context, request, wanted);
  return passOn(request, wanted);
}

/**
 * Who names no registry here names it in the path later, and shows what is kept for it only if it was asked now. Whether a
 * password is right is known once it is used: this is what `podman login` asks.
 */
function answerPing(exchange: RequestContext): void {
  const version = { 'docker-distribution-api-version': 'registry/2.0' };
  if (shownAuthorization(exchange.request.headers.authorization) !== undefined) {
    return send(exchange, 200, version);
  }
  const headers = { 'www-authenticate': BASIC_CHALLENGE, ...version };
  refuse(exchange, 401, 'UNAUTHORIZED', 'the registry is named in the path', headers);
}

function isPing({ components, query }: RequestContext): boolean {
  return !query.has('ns') && components.slice(1).every((each) => each === '');
}
