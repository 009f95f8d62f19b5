import { isQuayctlError, QuayctlError, type ErrorCode } from '../../base/errors.ts';
import { isLoopback } from '../../base/ip-address.ts';
import { dropBody, dumpBody, type Http, type HttpAnswer } from '../../http/http.ts';
import { networkError } from '../../http/network-error.ts';
import { formatAppcName, splitAppcName, type AppcName } from '../../image/appc-name.ts';
import { followRedirects } from '../../http/redirect.ts';
import { renderTemplate, type AciPlace } from './template.ts';

/** How much of a discovery page is read: a large home page of today fits. */
const MAX_PAGE_BYTES = 1024 * 1024;
/** The longest time in which a discovery page must arrive. */
const MAX_PAGE_MS = 15_000;
const MAX_REDIRECTS = 5;
/** What a page further up would not mend. */
const FINAL: readonly ErrorCode[] = ['unsupported', 'credentials'];

export interface DiscoveryOptions {
  readonly http: Http;
  /** Plain HTTP where HTTPS gives no answer, without credentials. */
  readonly insecure: boolean;
  /** What rkt would show that host, which is a URL's: with its port where that names one. */
  readonly authorization: (host: string) => Promise<string | undefined>;
  readonly onDebug: (message: string) => void;
}

/** Where an ACI lies, and whether a page elsewhere has said so: then it must not be on this machine. */
export interface DiscoveredPlace extends AciPlace {
  readonly denyLocal: boolean;
}

/**
 * Where an image lies (appc spec, "Meta Discovery"), walked as rkt walks: the page of the name, then those of its parent
 * paths; of a page the first template for the name that can be filled in. Credentials go over HTTPS to that host alone:
 * never along with a fallback to plain HTTP, where rkt does send them, and never to another host.
 * @throws QuayctlError `not-found` where no page leads to the image; `unauthorized`, `unreachable`
 */
export async function discover(
  name: AppcName,
  options: DiscoveryOptions,
  signal: AbortSignal,
): Promise<DiscoveredPlace> {
  let failure: QuayctlError | undefined;
  for (const path of pathsOf(name)) {
    try {
      const place = await lookAt(path, name, options, signal);
      if (place !== undefined) return checked(path, place, options);
    } catch (error) {
      signal.throwIfAborted();
      if (!isQuayctlError(error) || FINAL.includes(error.code)) throw error;
      failure = moreTelling(failure, error);
      options.onDebug(`discovery at ${path}: ${error.message}`);
    }
  }
  throw notFound(name, failure);
}

/** `quay.io/ns/repo`, `quay.io/ns`, `quay.io`. */
function pathsOf({ name }: AppcName): readonly string[] {
  const components = name.split('/');
  return components.map((_, at) => components.slice(0, components.length - at).join('/'));
}

async function lookAt(
  path: string,
  name: AppcName,
  options: DiscoveryOptions,
  signal: AbortSignal,
): Promise<DiscoveredPlace | undefined> {
  const { html, isLocal } = await pageOf(path, options, signal);
  // Loaded for rkt's users alone.
  const { discoveryTags } = await import('./meta-tags.ts');
  const tags = discoveryTags(html).filter(
    ({ kind, prefix }) => kind === 'image' && name.name.startsWith(prefix),
  );
  for (const { template } of tags) {
    const place = renderTemplate(template, name);
    if (place !== undefined) return { ...place, denyLocal: !isLocal };
  }
  return undefined;
}

/** As with rkt the first template counts: one further up would lead to another image. */
function checked(path: string, place: DiscoveredPlace, { insecure }: DiscoveryOptions): DiscoveredPlace {
  const clear = [place.image, place.signature].find(
    ({ protocol, hostname }) => protocol === 'http:' && !insecure && !isLoopback(hostname),
  );
  if (clear === undefined) return place;
  throw new QuayctlError('unsupported', `${path} leads to plain HTTP at ${clear.host}`, {
    hint: '--insecure allows that',
  });
}

interface Page {
  readonly html: string;
  /** It came from this machine, and may lead to this machine. */
  readonly isLocal: boolean;
}

async function pageOf(path: string, options: DiscoveryOptions, signal: AbortSignal): Promise<Page> {
  try {
    return await read(new URL(`https://${path}?ac-discovery=1`), true, options, signal);
  } catch (error) {
    if (!options.insecure || !isQuayctlError(error)) throw error;
    options.onDebug(`${error.message}; asking over plain HTTP, without credentials`);
    return read(new URL(`http://${path}?ac-discovery=1`), false, options, signal);
  }
}

async function read(
  start: URL,
  mayShow: boolean,
  { http, authorization, insecure }: DiscoveryOptions,
  signal: AbortSignal,
): Promise<Page> {
  const own = mayShow ? await authorization(start.host) : undefined;
  const { answer, url, denyLocal } = await followRedirects(
    http,
    start,
    { limit: MAX_REDIRECTS, insecure },
    (hop) => {
      const headers = own !== undefined && hop.url.origin === start.origin ? { authorization: own } : {};
      return http.request(hop.url, { headers, denyLocal: hop.denyLocal, registry: start.host, signal });
    },
  );
  const html = await textOf(answer, url, signal);
  return { html, isLocal: !denyLocal && http.isLocal(url) };
}

/** The beginning of the page: tags that stand behind a mebibyte are not looked for. */
async function textOf(answer: HttpAnswer, url: URL, signal: AbortSignal): Promise<string> {
  const { statusCode: status } = answer;
  if (status !== 200) {
    await dumpBody(answer);
    const code =
      status === 401 || status === 403 ? 'unauthorized' : status >= 500 ? 'unreachable' : 'not-found';
    throw new QuayctlError(code, `${url.host} answers ${status} for discovery`);
  }
  const timer = setTimeout(() => dropBody(answer), MAX_PAGE_MS);
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      length += chunk.length;
      if (length >= MAX_PAGE_BYTES) break;
    }
  } catch (error) {
    signal.throwIfAborted();
    throw networkError(url, error);
  } finally {
    clearTimeout(timer);
  }
  return Buffer.concat(chunks).subarray(0, MAX_PAGE_BYTES).toString('utf8');
}

/** A parent path that has no page says less than a name that was refused, or a host that does not answer. */
function moreTelling(before: QuayctlError | undefined, error: QuayctlError): QuayctlError {
  const weight = { unauthorized: 3, protocol: 2, unreachable: 1 } as Partial<Record<ErrorCode, number>>;
  const isTold = before !== undefined && (weight[before.code] ?? 0) >= (weight[error.code] ?? 0);
  return isTold ? before : error;
}

function notFound(name: AppcName, cause: QuayctlError | undefined): QuayctlError {
  const what = `no place to get ${formatAppcName(name)} from`;
  if (isQuayctlError(cause, 'unauthorized', 'protocol', 'unreachable')) {
    return new QuayctlError(cause.code, `${what}: ${cause.message}`, {
      cause: cause.cause,
      hint: cause.hint,
    });
  }
  return new QuayctlError('not-found', `${what}: ${splitAppcName(name).host} has no appc discovery for it`, {
    cause,
    hint: 'with --torrent-service URL the service is asked without discovery',
  });
}
