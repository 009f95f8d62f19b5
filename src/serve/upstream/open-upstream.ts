import { upstreamPlace, type TorrentServiceOptions } from '../options.ts';
import { PasswordUpstream } from '../../upstream/password-upstream.ts';
import { LayoutUpstream } from './layout-upstream.ts';
import { ServiceCredentialUpstream } from '../../upstream/service-credential-upstream.ts';
import { RegistryUpstream } from '../../upstream/registry-upstream.ts';
import type { Upstream } from '../../upstream/upstream.ts';

/** The upstream, asked with what callers show, and as the service itself reads it. */
export interface OpenUpstream {
  readonly upstream: Upstream;
  readonly own: Upstream;
  /** As `upstream`, for callers who can show a password only. */
  readonly basic: Upstream;
}

/** @throws QuayctlError `usage` */
export function openUpstream(
  options: Pick<TorrentServiceOptions, 'upstream' | 'insecure' | 'http' | 'listener' | 'ownCredential'>,
): OpenUpstream {
  const { http, listener, insecure = false, ownCredential } = options;
  const onWarning = (message: string): void => listener({ kind: 'warning', message });
  const place = upstreamPlace(options);
  if (place.kind === 'layout') {
    const upstream = new LayoutUpstream(place.directory, onWarning);
    return { upstream, own: upstream, basic: upstream };
  }
  const upstream = new RegistryUpstream(place.origin, http);
  const credential = ownCredential ?? (() => Promise.resolve(undefined));
  const registry = upstream.hosts[0] ?? place.origin.host;
  const reading = { upstream, registry, origin: place.origin, http, insecure, onWarning };
  return {
    upstream,
    own: new ServiceCredentialUpstream({ ...reading, credential }),
    basic: new PasswordUpstream(reading),
  };
}
