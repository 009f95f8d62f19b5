import { Readable } from 'node:stream';
import { isQuayctlError } from '../base/errors.ts';
import type { Http } from '../http/http.ts';
import type { Credential } from '../credentials/credential.ts';
import { Authorizer } from '../registry/authorizer.ts';
import { sendAuthorized, type AnswerHead } from '../registry/authorized.ts';
import { discard, type Upstream, type UpstreamRequest } from './upstream.ts';
import type { UpstreamAnswer } from '../http-server/request-context.ts';

/** The service's own pull credential for a repository of a registry; undefined for none. */
export type OwnCredential = (
  registry: string,
  repository: string,
  signal: AbortSignal,
) => Promise<Credential | undefined>;

export interface ServiceCredentialOptions {
  readonly upstream: Upstream;
  /** As operators know it, for messages. */
  readonly registry: string;
  readonly origin: URL;
  readonly credential: OwnCredential;
  readonly http: Http;
  readonly insecure: boolean;
  readonly onWarning: (message: string) => void;
}

/** Repositories whose token is kept. */
const MAX_REPOSITORIES = 1000;

/**
 * The upstream as the service itself reads it: with its own credential, or what a token server gives to strangers. A
 * caller's Authorization is not passed on. Where a password may go is the registry room's to say (Authorizer).
 */
export class ServiceCredentialUpstream implements Upstream {
  readonly hosts: readonly string[];
  readonly #options: ServiceCredentialOptions;
  readonly #authorizers = new Map<string, Authorizer>();
  /** Every repository has an authorizer of its own, and all have the same to warn of. */
  readonly #warned = new Set<string>();

  constructor(options: ServiceCredentialOptions) {
    this.#options = options;
    this.hosts = options.upstream.hosts;
  }

  async ask(request: UpstreamRequest, signal: AbortSignal): Promise<UpstreamAnswer> {
    const { upstream, origin } = this.#options;
    const repository = request.resource.kind === 'base' ? '' : request.resource.repository;
    const authorizer = await this.#authorizer(repository, signal);
    try {
      const { answer } = await sendAuthorized(authorizer, {
        url: origin,
        signal,
        send: (authorization) => upstream.ask({ ...request, authorization }, signal),
        head: (each) => ({ statusCode: each.status, headers: each.headers }),
        drop: (each) => Promise.resolve(discard(each)),
        ...(request.resource.kind === 'base' ? {} : { ping: () => this.#ping(signal) }),
      });
      // The credential may be another by the next time.
      if (answer.status === 401) this.#authorizers.delete(repository);
      return answer;
    } catch (error) {
      // A token server that refuses is a registry that refuses.
      if (!isQuayctlError(error, 'unauthorized')) throw error;
      this.#authorizers.delete(repository);
      return { status: 401, headers: {}, body: Readable.from([]) };
    }
  }

  async #ping(signal: AbortSignal): Promise<AnswerHead> {
    const answer = await this.#options.upstream.ask({ method: 'GET', resource: { kind: 'base' } }, signal);
    discard(answer);
    return { statusCode: answer.status, headers: answer.headers };
  }

  async #authorizer(repository: string, signal: AbortSignal): Promise<Authorizer> {
    const known = this.#authorizers.get(repository);
    if (known !== undefined) return known;
    const { credential: find, ...rest } = this.#options;
    const credential = await find(rest.registry, repository, signal);
    const scope = repository === '' ? undefined : `repository:${repository}:pull`;
    const onWarning = (message: string): void => this.#warn(message);
    const authorizer = new Authorizer({ ...rest, onWarning, scope, credential });
    if (this.#authorizers.size >= MAX_REPOSITORIES) this.#authorizers.clear();
    this.#authorizers.set(repository, authorizer);
    return authorizer;
  }

  #warn(message: string): void {
    if (this.#warned.has(message)) return;
    this.#warned.add(message);
    this.#options.onWarning(message);
  }
}
