import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';
import { selfSignedCertificate } from './certificate.ts';

/** JSON Web Key's name of the curve (RFC 7518, section 6.2.1.1). */
const CURVE = 'P-256';

/**
 * The key by which other nodes know this one. The torrent service writes its thumbprint into the announce tokens that
 * this node gets, so that these are of use to nobody else.
 */
export class NodeKey {
  /** RFC 7638, SHA-256, base64url. */
  readonly thumbprint: string;
  readonly #privateKey: KeyObject;
  #certificate: string | undefined;

  private constructor(privateKey: KeyObject) {
    const thumbprint = keyThumbprint(createPublicKey(privateKey));
    if (thumbprint === undefined) throw new TypeError('a node key is on the curve P-256');
    this.thumbprint = thumbprint;
    this.#privateKey = privateKey;
  }

  static generate(): NodeKey {
    return new NodeKey(generateKeyPairSync('ec', { namedCurve: CURVE }).privateKey);
  }

  /** @throws TypeError or an error of node:crypto for what is not the private key of a node */
  static parse(pem: string): NodeKey {
    return new NodeKey(createPrivateKey(pem));
  }

  /** PKCS #8, PEM. Secret. */
  get pem(): string {
    return this.#privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  }

  /** X.509, PEM, self-signed. */
  get certificate(): string {
    this.#certificate ??= selfSignedCertificate(createPublicKey(this.#privateKey), this.#privateKey);
    return this.#certificate;
  }
}

/** The thumbprint of a key (RFC 7638); undefined for one that is not on P-256. */
export function keyThumbprint(publicKey: KeyObject): string | undefined {
  if (publicKey.asymmetricKeyType !== 'ec') return undefined;
  const { crv, kty, x, y } = publicKey.export({ format: 'jwk' });
  if (crv !== CURVE) return undefined;
  return createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url');
}
