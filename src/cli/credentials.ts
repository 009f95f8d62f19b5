import type { Credential } from '../credentials/credential.ts';
import {
  credentialStores,
  findCredential,
  openKeychain,
  type CredentialPlaces,
} from '../credentials/sources.ts';
import type { Keychain } from '../credentials/keychain.ts';
import type { ImageReference } from '../image/reference.ts';
import type { Session } from './session.ts';

/** The credential that this user has for an image's registry; undefined means anonymous. */
export function credentialFor(
  { registry, repository }: ImageReference,
  session: Session,
  onWarning: (message: string) => void,
): Promise<Credential | undefined> {
  return findCredential(registry, repository, credentialStores(places(session)), onWarning, session.signal);
}

/** Where `login` keeps and `logout` removes. */
export function sessionKeychain(session: Session): Keychain {
  return openKeychain(places(session));
}

function places({ env, home }: Session): CredentialPlaces {
  return { env, home, uid: process.getuid?.() ?? 0, nodePath: process.execPath };
}
