import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { isLoopback } from '../base/ip-address.ts';
import { dumpBody, type Http, type HttpAnswer } from '../http/http.ts';
import { unauthorized } from './failures.ts';
import type { OpenRepository } from './open-repository.ts';
import type { Patience } from './resuming.ts';
import { withPatience } from './retry-after.ts';

/** Asked to hold the answer, the service may hold it this much longer. */
const ANSWER_MARGIN_MS = 15_000;

export interface ServiceAskerOptions {
  readonly http: Http;
  readonly repository: OpenRepository;
  /** The registry's host as in references. */
  readonly registry: string;
  /** `--torrent-service`; absent: the registry itself. */
  readonly service: URL | undefined;
  readonly insecure: boolean;
  readonly sendCredentials: boolean;
  /** The thumbprint of this node's key (RFC 7638), which the service names in announce tokens. */
  readonly nodeKey?: () => Promise<string>;
}

/** In which a request for a torrent names this node's key. */
const NODE_KEY_HEADER = 'quayctl-key';

/** @param nodeKey as in ServiceAskerOptions */
export async function nodeKeyHeader(
  nodeKey: ServiceAskerOptions['nodeKey'],
): Promise<Record<string, string>> {
  return nodeKey === undefined ? {} : { [NODE_KEY_HEADER]: await nodeKey() };
}

export interface ServiceQuestion {
  readonly headers: Readonly<Record<string, string>>;
  /** For how long the service was asked to hold its answer. */
  readonly waitSeconds?: number;
  /** How long it may take otherwise; the asker's own where nothing is said. */
  readonly patience?: Patience;
  readonly signal: AbortSignal;
}

export interface ServiceReply {
  readonly answer: HttpAnswer;
  /** What was shown to it: secret. */
  readonly authorization: string | undefined;
}

/**
 * Asks a torrent service, showing what it may be shown (docs/protocol.md, "Permission and credentials"): to the
 * registry itself what the registry is shown; to another host a Bearer token for this one repository, or less.
 */
export class ServiceAsker {
  readonly #options: ServiceAskerOptions;

  constructor(options: ServiceAskerOptions) {
    this.#options = options;
  }

  /** @throws QuayctlError as the registry, where that is the service */
  async base(signal: AbortSignal): Promise<URL> {
    const { service, repository } = this.#options;
    return service ?? repository.requester.base(signal);
  }

  /** @param url below `base` @throws QuayctlError `unreachable`, `rate-limited`, `unauthorized` of the token server */
  async ask(url: URL, question: ServiceQuestion): Promise<ServiceReply> {
    const { http, service, registry } = this.#options;
    const { waitSeconds = 0, signal } = question;
    const base = await this.base(signal);
    for (let attempt = 0; ; attempt++) {
      const authorization = await this.#authorization(base, signal);
      const headers = { ...question.headers, ...(authorization === undefined ? {} : { authorization }) };
      const times = question.patience ?? { headersTimeoutMs: waitSeconds * 1000 + ANSWER_MARGIN_MS };
      const send = (): Promise<HttpAnswer> =>
        http.request(url, {
          headers,
          ...times,
          registry: service === undefined ? registry : undefined,
          signal,
        });
      // A registry that is asked on the off-chance is not insisted upon.
      const answer = await (service === undefined ? send() : withPatience(url, signal, send, http.attempts));
      if (answer.statusCode !== 401 || attempt === 2) return { answer, authorization };
      if (!(await this.#handleChallenge(answer, base, authorization, signal)))
        return { answer, authorization };
      await dumpBody(answer);
    }
  }

  /**
   * What a 401 or 403 means to the user.
   * @param what was asked for: `the torrent of sha256:...`
   * @param authorization that was shown
   */
  refusal(url: URL, what: string, authorization: string | undefined): QuayctlError {
    const { registry, repository, service, insecure } = this.#options;
    const { credential, scheme } = repository.authorizer;
    if (
      service === undefined ||
      authorization !== undefined ||
      (credential === undefined && scheme === undefined)
    ) {
      return unauthorized(registry, what, credential);
    }
    const isClear = url.protocol === 'http:' && !isLoopback(url.hostname) && !insecure;
    return new QuayctlError('unauthorized', `${url.host} requires authentication for ${what}`, {
      hint: isClear
        ? 'nothing is shown to it over plain HTTP; --insecure allows that'
        : `--send-credentials gives it the password for ${registry}`,
    });
  }

  /**
   * To the registry itself what the registry is shown. To another host only a Bearer token that the registry's token
   * server made for this repository, never a password or a token of the user's own (but with --send-credentials), and
   * nothing at all in the clear.
   */
  async #authorization(base: URL, signal: AbortSignal): Promise<string | undefined> {
    const { insecure, sendCredentials, repository } = this.#options;
    const { authorizer } = repository;
    if (!(await this.#isRegistry(base, signal))) {
      if (base.protocol === 'http:' && !isLoopback(base.hostname) && !insecure) return undefined;
      const isOwn = authorizer.scheme === 'basic' || authorizer.credential?.kind === 'registry-token';
      if (isOwn && !sendCredentials) return undefined;
    }
    return authorizer.header(base, signal);
  }

  /**
   * Whether a 401 can be answered. A service on another host is not believed about where a password goes: the
   * registry itself is asked for its challenge.
   */
  async #handleChallenge(
    answer: HttpAnswer,
    base: URL,
    sent: string | undefined,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { authorizer, requester } = this.#options.repository;
    if (await this.#isRegistry(base, signal)) return authorizer.handleChallenge(base, answer, sent);
    if (authorizer.scheme !== undefined) return false;
    await requester.probe(signal);
    return (await this.#authorization(base, signal)) !== undefined;
  }

  async #isRegistry(base: URL, signal: AbortSignal): Promise<boolean> {
    const { repository, service } = this.#options;
    if (service === undefined) return true;
    try {
      return (await repository.requester.base(signal)).origin === base.origin;
    } catch (error) {
      // A registry that is down must not keep the service from being asked.
      if (isQuayctlError(error, 'unreachable')) return false;
      throw error;
    }
  }
}

/** Of a service that does not stand at the root of its host. */
export function pathOf(base: URL): string {
  return base.pathname.replace(/\/+$/, '');
}

/**
 * For what the service alone says what it must be: no host on the way may be able to answer in its place.
 * @param what is wanted of it: `squashed images`
 * @throws QuayctlError `unsupported`
 */
export function assertNotInTheClear(
  { protocol, hostname, origin }: URL,
  what: string,
  insecure: boolean,
): void {
  if (protocol !== 'http:' || isLoopback(hostname) || insecure) return;
  throw new QuayctlError(
    'unsupported',
    `${what} are taken from a torrent service over HTTPS only, and ${origin} is plain HTTP`,
    { hint: `only the service says what they must be: use https://, or allow it with --insecure` },
  );
}
