import { QuayctlError } from '../base/errors.ts';
import { parseImageReference } from '../image/reference.ts';
import { canonicalHost } from '../mirror/target.ts';
import { httpUrl, named } from './flags.ts';

/** `HOST` or `HOST=SERVICE-URL`, each. @throws QuayctlError `usage` */
export function registriesOf(given: readonly string[], service: URL | undefined): Map<string, URL> {
  const registries = new Map<string, URL>();
  for (const text of given) {
    const [, name = '', url] = /^([^=]*)(?:=(.*))?$/s.exec(text) ?? [];
    const host = registryHost(name);
    const own = url === undefined ? service : httpUrl('--registry', url);
    if (own === undefined) {
      throw new QuayctlError('usage', `--registry ${host}: no torrent service is named`, {
        hint: `--torrent-service URL, or --registry ${host}=URL`,
      });
    }
    registries.set(host, own);
  }
  if (registries.size > 0) return registries;
  throw new QuayctlError('usage', '--registry HOST is missing', {
    hint: 'name every registry to be mirrored',
  });
}

/** @throws QuayctlError `usage` */
export function registryHost(text: string): string {
  const host = canonicalHost(text);
  const parsed = named('--registry', `${host}/library/any`, parseImageReference);
  if (parsed.registry === host && parsed.repository === 'library/any') return host;
  throw new QuayctlError('usage', `--registry: not a host: ${JSON.stringify(text.slice(0, 100))}`);
}
