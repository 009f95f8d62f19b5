import { QuayctlError } from '../base/errors.ts';
import { isDigest, type Digest } from '../image/digest.ts';
import { list, object, parseJsonObject, type JsonObject } from '../image/json.ts';
import { MAX_OF_PACKAGE, readPackage, readVulnerability } from './foreign-package.ts';
import { foreignText } from './foreign-text.ts';
import {
  makeReport,
  MAX_PACKAGES,
  MAX_REPORT_BYTES,
  type ImagePackage,
  type ReportSource,
  type SecurityReport,
  type Vulnerability,
} from './report.ts';

/** A report as the torrent service gives it at `/c1/security/REPO/TAG`. Packages without a flaw are in it, too. */
export function reportJson({ digest, source, packages }: SecurityReport): object {
  return { schemaVersion: 1, digest, source, packages };
}

/**
 * A report of a torrent service.
 * @param host of the service, named with the host of whoever made the report
 * @throws QuayctlError `protocol` for one of another image, `limit`, `unsupported` for a later version of it
 */
export function parseReportJson(bytes: Uint8Array, digest: Digest, host: string): SecurityReport {
  const json = parseJsonObject(bytes, "the service's report", MAX_REPORT_BYTES);
  if (json['schemaVersion'] !== 1) {
    throw new QuayctlError('unsupported', `the report of ${host} is of another version of quayctl`);
  }
  if (json['digest'] !== digest) {
    const told = foreignText(json['digest'], 100);
    throw new QuayctlError('protocol', `the report of ${host} is about ${told}, not ${digest}`);
  }
  const packages = list(json['packages'], "the service's report: packages", MAX_PACKAGES);
  const source: ReportSource = { kind: 'torrent-service', host };
  return makeReport(digest, source, packages.map(parsePackage));
}

function parsePackage(value: unknown): ImagePackage {
  const each = object(value, "the service's report: a package");
  const { layer } = each;
  const flaws = list(each['vulnerabilities'], "the service's report: vulnerabilities", MAX_OF_PACKAGE);
  return readPackage({
    name: each['name'],
    otherName: 'a package without a name',
    version: each['version'],
    layer: typeof layer === 'string' && isDigest(layer) ? layer : undefined,
    vulnerabilities: flaws.map((flaw) => parseFlaw(object(flaw, "the service's report: a vulnerability"))),
  });
}

function parseFlaw(flaw: JsonObject): Vulnerability {
  const { links } = flaw;
  return readVulnerability({
    name: flaw['name'],
    otherName: 'a vulnerability without a name',
    severity: flaw['severity'],
    score: flaw['cvss'],
    fixedIn: flaw['fixedIn'],
    links: Array.isArray(links) ? links.join(' ') : '',
    description: flaw['description'],
  });
}
