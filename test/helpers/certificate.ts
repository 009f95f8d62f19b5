import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mustRun, type Scope } from './processes.ts';
import { tempDirectory } from './temp.ts';

/** A self-signed certificate, its own authority, in PEM files. */
export interface TestCertificate {
  readonly certificate: string;
  readonly key: string;
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** Made by openssl for loopback, or for the names given. @param names as in subjectAltName: `DNS:a.example` */
export async function makeCertificate(
  scope: Scope,
  names: readonly string[] = ['DNS:localhost', 'IP:127.0.0.1', 'IP:::1'],
  flags: readonly string[] = [],
): Promise<TestCertificate> {
  const directory = await tempDirectory(scope, 'certificate');
  const [certificate, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
  await mustRun('openssl', [
    ...[
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '2',
      '-subj',
      `/CN=quayctl test ${names[0] ?? ''}`,
    ],
    ...['-addext', `subjectAltName=${names.join(',')}`, '-out', certificate, '-keyout', key],
    ...flags,
  ]);
  return {
    certificate,
    key,
    certificatePem: await readFile(certificate, 'utf8'),
    keyPem: await readFile(key, 'utf8'),
  };
}

/** An authority of a test's own. */
export interface TestAuthority {
  /** PEM file, for NODE_EXTRA_CA_CERTS and SSL_CERT_FILE. */
  readonly certificate: string;
  /** @param names as in subjectAltName: `DNS:a.example` */
  issue(names: readonly string[]): Promise<TestCertificate>;
}

export async function makeAuthority(scope: Scope): Promise<TestAuthority> {
  const authority = await makeCertificate(scope, ['DNS:authority.example']);
  const signedBy = ['-CA', authority.certificate, '-CAkey', authority.key];
  const isLeaf = ['-addext', 'basicConstraints=critical,CA:FALSE'];
  return {
    certificate: authority.certificate,
    issue: (names) => makeCertificate(scope, names, [...signedBy, ...isLeaf]),
  };
}
