import { randomBytes, sign, type KeyObject } from 'node:crypto';
import { isIPv4 } from 'node:net';

/** DER tags (X.690) of what a certificate is made of. */
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const OBJECT_IDENTIFIER = 0x06;
const UTF8_STRING = 0x0c;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;
const SEQUENCE = 0x30;
const SET = 0x31;
/** Context-specific tags of `version` and `extensions` (RFC 5280, section 4.1), and of names in a GeneralName (4.2.1.6). */
const VERSION = 0xa0;
const EXTENSIONS = 0xa3;
const DNS_NAME = 0x82;
const IP_ADDRESS = 0x87;

/** ecdsa-with-SHA256, 1.2.840.10045.4.3.2 (RFC 5758, section 3.2). */
const ECDSA_WITH_SHA256 = Buffer.from('2a8648ce3d040302', 'hex');
/** id-at-commonName, 2.5.4.3 (RFC 5280, appendix A.1). */
const COMMON_NAME = Buffer.from('550403', 'hex');
/** id-ce-subjectAltName, 2.5.29.17 (RFC 5280, section 4.2.1.6). */
const SUBJECT_ALT_NAME = Buffer.from('551d11', 'hex');
const VERSION_3 = Buffer.of(2);
const NAME = 'quayctl';
/** The clock of a node may be wrong, so the certificate is always valid; RFC 5280, 4.1.2.5: it has no end. */
const NOT_BEFORE = '200101000000Z';
const NOT_AFTER = '99991231235959Z';
const SERIAL_BYTES = 16;

/**
 * A self-signed X.509 certificate (RFC 5280) around a key. For peers it says nothing but the key, so that TLS can show
 * who is at the other end: they look at the key and at nothing else in it. It is no authority, so whoever trusts it trusts
 * nothing that is signed with it. Node's own library reads certificates and makes none.
 * @param privateKey on the curve P-256
 * @param names under which a client may know it: IPv4 addresses in dotted form, else DNS names
 * @returns PEM
 */
export function selfSignedCertificate(
  publicKey: KeyObject,
  privateKey: KeyObject,
  names: readonly string[] = [],
): string {
  const algorithm = der(SEQUENCE, der(OBJECT_IDENTIFIER, ECDSA_WITH_SHA256));
  const name = der(
    SEQUENCE,
    der(SET, der(SEQUENCE, der(OBJECT_IDENTIFIER, COMMON_NAME), der(UTF8_STRING, Buffer.from(NAME)))),
  );
  const serial = randomBytes(SERIAL_BYTES);
  // Positive, and in its shortest form.
  serial[0] = 0x40 | ((serial[0] ?? 0) & 0x3f);
  const toBeSigned = der(
    SEQUENCE,
    ...(names.length === 0 ? [] : [der(VERSION, der(INTEGER, VERSION_3))]),
    der(INTEGER, serial),
    algorithm,
    name,
    der(SEQUENCE, der(UTC_TIME, Buffer.from(NOT_BEFORE)), der(GENERALIZED_TIME, Buffer.from(NOT_AFTER))),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    ...(names.length === 0 ? [] : [der(EXTENSIONS, der(SEQUENCE, alternativeNames(names)))]),
  );
  const signature = sign('sha256', toBeSigned, privateKey);
  const noUnusedBits = Buffer.of(0);
  const certificate = der(SEQUENCE, toBeSigned, algorithm, der(BIT_STRING, noUnusedBits, signature));
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}

function alternativeNames(names: readonly string[]): Buffer {
  const each = names.map((name) =>
    isIPv4(name)
      ? der(IP_ADDRESS, Buffer.from(name.split('.').map(Number)))
      : der(DNS_NAME, Buffer.from(name, 'latin1')),
  );
  return der(SEQUENCE, der(OBJECT_IDENTIFIER, SUBJECT_ALT_NAME), der(OCTET_STRING, der(SEQUENCE, ...each)));
}

/** One value in the distinguished encoding: tag, length in the fewest bytes, content. */
function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...size), content]);
}
