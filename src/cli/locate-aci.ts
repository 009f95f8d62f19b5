import { QuayctlError } from '../base/errors.ts';
import { aciReference } from '../image/aci.ts';
import { splitAppcName, type AppcName } from '../image/appc-name.ts';
import { aciAtService, discoverAci, type AciSource } from '../registry/aci-source.ts';
import { openRepository } from '../registry/open-repository.ts';
import { credentialForAci } from './credentials.ts';
import type { TorrentFlags } from './flags.ts';
import type { ClientServices } from './open-services.ts';
import type { Session } from './session.ts';

/**
 * With `--torrent-service` that service is asked directly, and remembered for seeding; else discovery says whom to ask.
 * @throws QuayctlError as `discoverAci`, `usage`
 */
export async function locateAci(
  name: AppcName,
  flags: Pick<TorrentFlags, 'insecure' | 'sendCredentials' | 'torrentService'>,
  { http, warn, listener, store, nodeKey: key }: ClientServices,
  session: Session,
  signal: AbortSignal,
): Promise<AciSource> {
  const { insecure, sendCredentials, torrentService: service } = flags;
  const nodeKey = async (): Promise<string> => (await key()).thumbprint;
  const found = new Map<string, ReturnType<typeof credentialForAci>>();
  // Each look at rkt's configuration is a run of rkt.
  const credential = (host: string): ReturnType<typeof credentialForAci> => {
    const known = found.get(host) ?? credentialForAci(host, session, warn);
    found.set(host, known);
    return known;
  };
  if (service === undefined) {
    const onDebug = (message: string): void => listener({ kind: 'debug', message });
    return discoverAci(name, { http, insecure, credential, onWarning: warn, onDebug, nodeKey }, signal);
  }
  const { host: registry, path } = splitAppcName(name);
  if (path === '') {
    throw new QuayctlError('usage', `${name.name} names no repository, which --torrent-service wants`);
  }
  const access = { registry, credential: await credential(registry), http, insecure, onWarning: warn };
  const repository = openRepository(access, path);
  const reference = aciReference(name);
  if (reference !== undefined) await store.noteService(reference, service);
  return aciAtService(name, { http, repository, registry, service, insecure, sendCredentials, nodeKey });
}
