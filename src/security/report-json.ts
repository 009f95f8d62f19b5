import { QuayctlError } from '../base/errors.ts';
import { isDigest, type Digest } from '../image/digest.ts';
import { list, object, parseJsonObject, type JsonObject } from '../image/json.ts';
import { isScore, MAX_DESCRIPTION, MAX_NAME } from './clair-report.ts';
import { foreignLinks, foreignText } from './foreign-text.ts';
import {
  makeReport,
  MAX_PACKAGES,
  MAX_REPORT_BYTES,
  type ImagePackage,
  type ReportSource,
  type SecurityReport,
  type Vulnerability,
} from './report.ts';
import { severityFromReport } from './severity.ts';

const MAX_OF_PACKAGE = 20_000;

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
  return {
    name: foreignText(each['name'], MAX_NAME) || 'a package without a name',
    version: foreignText(each['version'], MAX_NAME),
    ...(typeof layer === 'string' && isDigest(layer) ? { layer } : {}),
    vulnerabilities: flaws.map((flaw) => parseFlaw(object(flaw, "the service's report: a vulnerability"))),
  };
}

function parseFlaw(flaw: JsonObject): Vulnerability {
  const { cvss, links } = flaw;
  const fixedIn = foreignText(flaw['fixedIn'], MAX_NAME);
  return {
    name: foreignText(flaw['name'], MAX_NAME) || 'a vulnerability without a name',
    severity: severityFromReport(flaw['severity']),
    ...(isScore(cvss) ? { cvss } : {}),
    ...(fixedIn === '' ? {} : { fixedIn }),
    links: foreignLinks(Array.isArray(links) ? links.join(' ') : ''),
    description: foreignText(flaw['description'], MAX_DESCRIPTION),
  };
}
