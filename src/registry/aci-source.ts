import { QuayctlError } from '../base/errors.ts';
import { dumpBody, readBody, type HttpAnswer } from '../http/http.ts';
import { delay } from '../base/retry.ts';
import type { Credential } from '../credentials/credential.ts';
import { formatAppcName, splitAppcName, type AppcName } from '../image/appc-name.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { shortDigest } from '../image/digest.ts';
import { Authorizer } from './authorizer.ts';
import { discover, type DiscoveryOptions } from './discovery/discover.ts';
import type { AciPlace } from './discovery/template.ts';
import { readRefusal } from './failures.ts';
import type { AnnounceToken } from '../metainfo/tracker-address.ts';
import { sendReport, type LayerReport, type ReportAnswer } from './service-reports.ts';
import type { TorrentAnswer } from './repository.ts';
import type { LocatedResponse } from '../http/redirect.ts';
import { Requester, type RegistryRequest } from './requester.ts';
import { readResuming } from './resuming.ts';
import {
  assertNotInTheClear,
  nodeKeyHeader,
  ServiceAsker,
  type ServiceAskerOptions,
} from './service-asker.ts';
import { KEY_SET_PATH, ServiceKeySet } from './service-keys.ts';
import { readTorrentAnswer } from './torrent-answer.ts';

const TORRENT_TYPE = 'application/x-bittorrent';
/** The size of a detached signature. Most have about a kilobyte. */
const MAX_SIGNATURE_BYTES = 256 * 1024;
/**
 * The longest wait for the signature of an ACI that the service has to make again. An ACI of some GB is made by then.
 */
const SIGNATURE_MS = 10 * 60_000;
const SIGNATURE_RETRY_MS = 1000;
/** The longest time for which a service holds its answer back (docs/protocol.md, "The torrent of a blob"). */
const LONGEST_WAIT_SECONDS = 60;

/** One ACI at the place where it is served. */
export interface AciSource {
  /** For messages. */
  readonly host: string;
  /** @throws QuayctlError `unauthorized`, `unreachable`, `rate-limited`, `protocol` */
  torrent(waitSeconds: number, signal: AbortSignal): Promise<TorrentAnswer>;
  /** As TorrentService's. */
  serviceKeys(kid: string, signal: AbortSignal): Promise<unknown>;
  /** As TorrentService's. */
  report(token: AnnounceToken, report: LayerReport, signal: AbortSignal): Promise<ReportAnswer>;
  /** Bytes `start` to `end` of the ACI; not verified. */
  blob(aci: Descriptor, start: number, end: number, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** The detached signature. @throws QuayctlError `not-found`, `unauthorized`, `unreachable`, `limit` */
  signature(signal: AbortSignal): Promise<Uint8Array>;
}

export interface DiscoveredOptions extends Omit<DiscoveryOptions, 'authorization'> {
  /** What rkt has for the host of a URL. */
  readonly credential: (host: string) => Promise<Credential | undefined>;
  readonly onWarning: (message: string) => void;
  /** As in ServiceAskerOptions. */
  readonly nodeKey?: () => Promise<string>;
}

/** Looks the ACI up as rkt does, and shows its servers what rkt would show them. @throws QuayctlError as `discover` */
export async function discoverAci(
  name: AppcName,
  options: DiscoveredOptions,
  signal: AbortSignal,
): Promise<AciSource> {
  const authorization = async (host: string): Promise<string | undefined> =>
    authorizerFor(new URL(`https://${host}`), await options.credential(host), options).header(
      new URL(`https://${host}`),
      signal,
    );
  const place = await discover(name, { ...options, authorization }, signal);
  const requesters = new Map<string, Promise<Requester>>();
  const requesterFor = (url: URL): Promise<Requester> => {
    const requester = requesters.get(url.origin) ?? openRequester(url, options);
    requesters.set(url.origin, requester);
    return requester;
  };
  const { denyLocal } = place;
  const get: Get = async (url, request) => {
    const located = await (await requesterFor(url)).follow(url, { ...request, denyLocal });
    return { ...located, isLocal: options.http.isLocal(located.url) };
  };
  return new PlacedAci(formatAppcName(name), { ...place, base: new URL('/', place.image) }, get, options);
}

async function openRequester(url: URL, options: DiscoveredOptions): Promise<Requester> {
  const { host: registry, protocol } = url;
  // Never in the clear: rkt shows nothing to plain HTTP either.
  const credential = protocol === 'https:' ? await options.credential(registry) : undefined;
  const authorizer = authorizerFor(url, credential, options);
  return new Requester({ ...options, registry, authorizer, base: new URL(url.origin) });
}

function authorizerFor(
  { host }: URL,
  credential: Credential | undefined,
  { http, insecure, onWarning }: DiscoveredOptions,
): Authorizer {
  const scope = undefined;
  return new Authorizer({ registry: host, scope, credential, http, insecure, onWarning, unasked: true });
}

/** At `--torrent-service`: no discovery, and the authorisation rules of torrents. @param name with `os` and `arch` @throws QuayctlError `unsupported` */
export function aciAtService(name: AppcName, options: ServiceAskerOptions & { service: URL }): AciSource {
  const { service, registry, insecure } = options;
  // As rkt and discovery have it; and where signatures are not looked at, nothing else tells what it must be.
  assertNotInTheClear(service, 'ACIs', insecure);
  const { path } = splitAppcName(name);
  const { version = 'latest', os = '', arch = '' } = name.labels;
  const urlOf = (kind: string): URL => {
    const prefix = service.pathname.replace(/\/+$/, '');
    const components = [version, kind, os, arch].map(encodeURIComponent).join('/');
    const url = new URL(`${prefix}/c1/aci/${registry}/${path}/${components}/`, service);
    url.searchParams.set('ns', registry);
    return url;
  };
  const asker = new ServiceAsker(options);
  const get: Get = async (url, request) => {
    const { answer, authorization } = await asker.ask(url, { headers: {}, ...request });
    if (answer.statusCode !== 401 && answer.statusCode !== 403) {
      return { answer, url, denyLocal: false, isLocal: options.http.isLocal(url) };
    }
    await dumpBody(answer);
    throw asker.refusal(url, request.what, authorization);
  };
  const place = { image: urlOf('aci'), signature: urlOf('aci.asc'), base: service };
  return new PlacedAci(formatAppcName(name), place, get, options);
}

/** Gets a URL with what its place may be shown. @throws QuayctlError `unauthorized` for 401 and 403 */
type Get = (
  url: URL,
  request: RegistryRequest & { readonly waitSeconds?: number },
) => Promise<LocatedResponse & { readonly isLocal: boolean }>;

/** `base`: of the service that serves the image, below which its keys are. */
type Place = Pick<AciPlace, 'image' | 'signature'> & { readonly base: URL; readonly denyLocal?: boolean };

class PlacedAci implements AciSource {
  readonly #name: string;
  readonly #place: Place;
  readonly #get: Get;
  readonly #nodeKey: ServiceAskerOptions['nodeKey'];
  readonly #keySet: ServiceKeySet;
  readonly #http: ServiceAskerOptions['http'];

  constructor(
    name: string,
    place: Place,
    get: Get,
    { http, nodeKey }: Pick<ServiceAskerOptions, 'http' | 'nodeKey'>,
  ) {
    this.#name = name;
    this.#place = place;
    this.#get = get;
    this.#nodeKey = nodeKey;
    this.#http = http;
    this.#keySet = new ServiceKeySet(async (signal) => {
      const { base, denyLocal = false } = place;
      const url = new URL(`${base.pathname.replace(/\/+$/, '')}${KEY_SET_PATH}`, base);
      return { answer: await http.request(url, { denyLocal, signal }), url };
    });
  }

  get host(): string {
    return this.#place.image.host;
  }

  async torrent(waitSeconds: number, signal: AbortSignal): Promise<TorrentAnswer> {
    const wait = Math.max(0, Math.min(LONGEST_WAIT_SECONDS, Math.ceil(waitSeconds)));
    const url = new URL(this.#place.image);
    // `wait` is sent only after a first 202: a server that gives one knows what it means.
    if (wait > 0) url.searchParams.set('wait', String(wait));
    const headers = { accept: TORRENT_TYPE, ...(await nodeKeyHeader(this.#nodeKey)) };
    const request = { headers, what: this.#name, waitSeconds: wait, signal };
    const { answer, url: answered, isLocal } = await this.#get(url, request);
    if (answer.statusCode === 404) throw await this.#absent(answer, answered, signal);
    const read = await readTorrentAnswer(answer, answered, isLocal, signal);
    if (read.kind === 'refused') throw new QuayctlError('unauthorized', `${url.host} refuses ${this.#name}`);
    return read.kind === 'no-service' ? { kind: 'none', reason: `${url.host} serves no torrents` } : read;
  }

  serviceKeys(kid: string, signal: AbortSignal): Promise<unknown> {
    return this.#keySet.get(kid, signal);
  }

  report(token: AnnounceToken, report: LayerReport, signal: AbortSignal): Promise<ReportAnswer> {
    const { base, denyLocal = false } = this.#place;
    return sendReport(this.#http, base, { token, report }, { denyLocal, signal });
  }

  blob(aci: Descriptor, start: number, end: number, signal: AbortSignal): AsyncIterable<Uint8Array> {
    const what = `ACI ${shortDigest(aci.digest)}`;
    const open = (request: RegistryRequest): Promise<LocatedResponse> =>
      this.#get(this.#place.image, request);
    return readResuming(aci, { start, end }, { what, open, signal });
  }

  async signature(signal: AbortSignal): Promise<Uint8Array> {
    const what = `the signature of ${this.#name}`;
    const deadline = performance.now() + SIGNATURE_MS;
    for (;;) {
      // The service holds its answer back until the image is made, which it may have to be once more.
      const request = { what, waitSeconds: SIGNATURE_MS / 1000, signal };
      const { answer, url } = await this.#get(this.#place.signature, request);
      if (answer.statusCode === 200) {
        return readBody(answer, { maxBytes: MAX_SIGNATURE_BYTES, url, what, signal });
      }
      await dumpBody(answer);
      if (answer.statusCode === 404) {
        throw new QuayctlError('not-found', `${url.host} has no signature of ${this.#name}`, {
          hint: '--insecure-options=image has rkt take an image without one',
        });
      }
      // 202: the service has lost the image since it gave its torrent, and makes it again.
      if (answer.statusCode !== 202 || performance.now() > deadline) {
        throw new QuayctlError('protocol', `${url.host} answers ${answer.statusCode} for ${what}`);
      }
      await delay(SIGNATURE_RETRY_MS, signal);
    }
  }

  async #absent(answer: HttpAnswer, url: URL, signal: AbortSignal): Promise<QuayctlError> {
    const { message } = await readRefusal(answer, url, signal);
    const reason = message === '' ? '' : `: ${message}`;
    return new QuayctlError('not-found', `${this.#name}: no such image at ${url.host}${reason}`);
  }
}
