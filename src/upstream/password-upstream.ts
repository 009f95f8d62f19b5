import type { Credential } from '../credentials/credential.ts';
import { guarded } from '../credentials/credential.ts';
import { ServiceCredentialUpstream, type ServiceCredentialOptions } from './service-credential-upstream.ts';
import type { Upstream, UpstreamRequest } from './upstream.ts';
import type { UpstreamAnswer } from '../http-server/request-context.ts';

/**
 * The upstream for callers who can show a password only, as rkt's users: where the registry wants a token, it is
 * fetched with that password for the one question, from the token server that the registry names. Nothing is kept.
 */
export class PasswordUpstream implements Upstream {
  readonly hosts: readonly string[];
  readonly #options: Omit<ServiceCredentialOptions, 'credential'>;

  constructor(options: Omit<ServiceCredentialOptions, 'credential'>) {
    this.#options = options;
    this.hosts = options.upstream.hosts;
  }

  ask(request: UpstreamRequest, signal: AbortSignal): Promise<UpstreamAnswer> {
    const credential = passwordOf(request.authorization);
    if (credential === undefined) return this.#options.upstream.ask(request, signal);
    const reader = new ServiceCredentialUpstream({
      ...this.#options,
      credential: () => Promise.resolve(credential),
    });
    return reader.ask(request, signal);
  }
}

/** RFC 7617 */
function passwordOf(authorization = ''): Credential | undefined {
  const [, encoded] = /^basic +([A-Za-z0-9+/=]+)$/i.exec(authorization.trim()) ?? [];
  const pair = Buffer.from(encoded ?? '', 'base64').toString('utf8');
  const at = pair.indexOf(':');
  if (at <= 0) return undefined;
  return guarded({ kind: 'basic', username: pair.slice(0, at), password: pair.slice(at + 1) });
}
