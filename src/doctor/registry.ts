import { isQuayctlError } from '../base/errors.ts';
import { isLoopback } from '../base/ip-address.ts';
import { formatBytes } from '../base/units.ts';
import type { Credential } from '../credentials/credential.ts';
import { dumpBody } from '../http/http.ts';
import { isTlsRefusal } from '../http/network-error.ts';
import { shortDigest } from '../image/digest.ts';
import type { ResolvedImage } from '../image/manifest.ts';
import { askFor } from '../pull/resolve.ts';
import { reportFailure, reportSilence, type Report } from './finding.ts';
import { reportCertificate, reportClock } from './host.ts';
import type { ExaminedImage } from './examined.ts';

/** The registry, as a pull meets it. @returns the image, where this user may have it */
export async function examineRegistry(
  examined: ExaminedImage,
  report: Report,
  signal: AbortSignal,
): Promise<ResolvedImage | undefined> {
  reportCredential(examined, report);
  if (!(await examineAnswer(examined, report, signal))) {
    report('permission', 'skipped', 'the registry could not be asked');
    return undefined;
  }
  try {
    const image = await askFor(examined.reference, examined.platform, examined.repository, signal);
    const { config, layers } = image.manifest;
    const bytes = layers.reduce((sum, { size }) => sum + size, config.size);
    const count = layers.length === 1 ? '1 layer' : `${layers.length} layers`;
    const digest = shortDigest(image.document.descriptor.digest);
    report('permission', 'ok', `${digest} may be pulled: ${count}, ${formatBytes(bytes)}`);
    return image;
  } catch (error) {
    reportFailure(report, 'permission', error);
    return undefined;
  }
}

function reportCredential(
  { reference, credential, credentialWarnings }: ExaminedImage,
  report: Report,
): void {
  for (const warning of credentialWarnings) report('credential', 'warning', warning);
  report(
    'credential',
    'ok',
    credential === undefined
      ? `none for ${reference.registry}: it is asked as a stranger`
      : `${kindOf(credential)} for ${reference.registry}, from ${credential.source?.name ?? 'elsewhere'}`,
  );
}

function kindOf(credential: Credential): string {
  switch (credential.kind) {
    case 'basic':
      return `the password of ${credential.username}`;
    case 'identity-token':
      return 'an identity token';
    case 'registry-token':
      return 'a token';
  }
}

/** @returns whether it answers as a registry */
async function examineAnswer(examined: ExaminedImage, report: Report, signal: AbortSignal): Promise<boolean> {
  const { http, repository, reference } = examined;
  let base = new URL(`https://${reference.registry}`);
  try {
    base = await repository.requester.base(signal);
    const url = new URL('/v2/', base);
    const begun = performance.now();
    const answer = await http.request(url, { registry: reference.registry, signal });
    const ms = Math.max(1, Math.round(performance.now() - begun));
    await dumpBody(answer);
    if (answer.statusCode !== 200 && answer.statusCode !== 401) {
      report('registry', 'failed', `${base.origin} answers ${answer.statusCode} for /v2/: it is no registry`);
      return false;
    }
    report('registry', 'ok', `${base.origin} answers in ${ms} ms`);
    if (base.protocol === 'http:' && !isLoopback(base.hostname)) {
      const hint = 'others on the way may read it, passwords too';
      report('tls', 'warning', `${base.host} speaks plain HTTP`, hint);
    }
    reportCertificate(report, http, base);
    reportClock(report, answer, 'registry');
    return true;
  } catch (error) {
    const isCertificate = isQuayctlError(error) && isTlsRefusal(error);
    reportSilence(report, isCertificate ? 'tls' : 'registry', base, error);
    return false;
  }
}
