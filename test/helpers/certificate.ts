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
): Promise<TestCertificate> {
  const directory = await tempDirectory(scope, 'certificate');
  const [certificate, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
  await mustRun('openssl', [
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=quayctl test'],
    ...['-addext', `subjectAltName=${names.join(',')}`, '-out', certificate, '-keyout', key],
  ]);
  return {
    certificate,
    key,
    certificatePem: await readFile(certificate, 'utf8'),
    keyPem: await readFile(key, 'utf8'),
  };
}
