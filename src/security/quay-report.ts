import { isDigest, type Digest } from '../image/digest.ts';
import { list, object, parseJsonObject, type JsonObject } from '../image/json.ts';
import { fixedVersion } from './clair-report.ts';
import { MAX_NAME, MAX_OF_PACKAGE, readPackage, readVulnerability } from './foreign-package.ts';
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

/** What Quay says of a manifest; `status` is its own word: `queued`, `failed`, `unsupported`, ... */
export type QuayAnswer =
  | { readonly kind: 'report'; readonly report: SecurityReport }
  | { readonly kind: 'none'; readonly status: string };

/**
 * The answer of Quay's `/api/v1/repository/REPO/manifest/DIGEST/security?vulnerabilities=true`. Quay does not repeat
 * the digest in it: the question's is that of the report.
 * @throws QuayctlError `protocol`, `limit`
 */
export function parseQuayReport(bytes: Uint8Array, digest: Digest, source: ReportSource): QuayAnswer {
  const json = parseJsonObject(bytes, "Quay's report", MAX_REPORT_BYTES);
  const status = foreignText(json['status'], 40);
  if (status !== 'scanned') return { kind: 'none', status };
  const layer = object(object(json['data'], "Quay's report: data")['Layer'], "Quay's report: Layer");
  const features = list(layer['Features'] ?? null, "Quay's report: Features", MAX_PACKAGES);
  return { kind: 'report', report: makeReport(digest, source, features.map(parseFeature)) };
}

function parseFeature(value: unknown): ImagePackage {
  const feature = object(value, "Quay's report: a feature");
  // `DIGEST`, and in old versions `DIGEST.UUID`.
  const [layer = ''] = foreignText(feature['AddedBy'], MAX_NAME).split('.');
  const flaws = list(feature['Vulnerabilities'] ?? null, "Quay's report: Vulnerabilities", MAX_OF_PACKAGE);
  return readPackage({
    name: feature['Name'],
    otherName: 'a package without a name',
    version: feature['Version'],
    layer: isDigest(layer) ? layer : undefined,
    vulnerabilities: flaws.map((each) => parseFlaw(object(each, "Quay's report: a vulnerability"))),
  });
}

function parseFlaw(flaw: JsonObject): Vulnerability {
  return readVulnerability({
    name: flaw['Name'],
    otherName: 'a vulnerability without a name',
    severity: flaw['Severity'],
    score: scoreOf(flaw['Metadata']),
    fixedIn: fixedVersion(flaw['FixedBy']),
    links: flaw['Link'],
    description: flaw['Description'],
  });
}

/** `Metadata.NVD.CVSSv3.Score`, of which any part may be missing, null or an empty text. */
function scoreOf(metadata: unknown): unknown {
  let at = metadata;
  for (const key of ['NVD', 'CVSSv3', 'Score']) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return undefined;
    at = (at as JsonObject)[key];
  }
  return at;
}
