import { isSea } from 'node:sea';
import type { Credential } from '../credentials/credential.ts';
import {
  credentialStores,
  findCredential,
  openDockerLogin,
  openKeychain,
  type CredentialPlaces,
} from '../credentials/sources.ts';
import type { DockerLogin } from '../credentials/docker-login.ts';
import type { Keychain } from '../credentials/keychain.ts';
import type { ImageReference } from '../image/reference.ts';
import { RKT_DIRECTORIES, RktAuth } from '../credentials/rkt-auth.ts';
import { DockerConfig } from '../credentials/docker-config.ts';
import type { OwnCredential } from '../upstream/service-credential-upstream.ts';
import type { Session } from './session.ts';

/** The credential that this user has for an image's registry; undefined means anonymous. */
export function credentialFor(
  { registry, repository }: ImageReference,
  session: Session,
  onWarning: (message: string) => void,
): Promise<Credential | undefined> {
  return findCredential(registry, repository, credentialStores(places(session)), onWarning, session.signal);
}

/**
 * What this user has for a server of ACIs: what rkt would show it, else what else there is.
 * @param host of a URL, with its port where that names one
 * @throws QuayctlError `credentials` where rkt's configuration cannot be used: rkt would not fetch with it either
 */
export async function credentialForAci(
  host: string,
  session: Session,
  onWarning: (message: string) => void,
): Promise<Credential | undefined> {
  const rkt = new RktAuth(RKT_DIRECTORIES, session.env);
  return (
    (await rkt.findForAci(host, session.signal)) ??
    findCredential(host, undefined, credentialStores(places(session)), onWarning, session.signal)
  );
}

/** Where `login` keeps and `logout` removes where there is no keychain. */
export function sessionDockerLogin(session: Session): DockerLogin {
  return openDockerLogin(places(session));
}

/** Where `login` keeps and `logout` removes. */
export function sessionKeychain(session: Session): Keychain {
  return openKeychain(places(session));
}

/**
 * The torrent service's own pull credential, for whatever repository it has to read.
 * @param file `--upstream-auth`, in the form of Docker's config.json: then nothing else is looked at
 */
export function serviceCredential(
  file: string | undefined,
  session: Session,
  onWarning: (message: string) => void,
): OwnCredential {
  const stores =
    file === undefined ? credentialStores(places(session)) : [new DockerConfig(file, session.env)];
  return (registry, repository, signal) =>
    findCredential(registry, repository === '' ? undefined : repository, stores, onWarning, signal);
}

function places({ env, home }: Session): CredentialPlaces {
  return { env, home, uid: process.getuid?.() ?? 0, nodePath: isSea() ? undefined : process.execPath };
}
