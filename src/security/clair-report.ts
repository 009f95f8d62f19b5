import { QuayctlError } from '../base/errors.ts';
import { isDigest, type Digest } from '../image/digest.ts';
import { list, object, parseJsonObject, type JsonObject } from '../image/json.ts';
import {
  isScore,
  MAX_DESCRIPTION,
  MAX_NAME,
  MAX_OF_PACKAGE,
  readPackage,
  readVulnerability,
} from './foreign-package.ts';
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

const MAX_ENRICHMENTS = 100;
/** Scores of one flaw: CVSS 2, 3.0, 3.1 and 4, by NVD and by others. */
const MAX_SCORES = 100;

/** How far Clair is with the index of an image; `error` is for people. */
export interface IndexState {
  readonly state: 'running' | 'finished' | 'failed';
  /** As Clair calls it: `FetchLayers`. */
  readonly step: string;
  readonly error: string;
}

/**
 * Clair v4's IndexReport: only how far it is.
 * @throws QuayctlError `protocol`, `limit`
 */
export function parseIndexState(bytes: Uint8Array, digest: Digest): IndexState {
  const json = parseJsonObject(bytes, "Clair's index report", MAX_REPORT_BYTES);
  assertAbout(json, digest);
  const step = foreignText(json['state'], 40);
  const error = foreignText(json['err'], MAX_DESCRIPTION);
  // Go's zero value of `success` is false while the index is being made, so only the last steps say something.
  const isOver = step === 'IndexFinished';
  const hasFailed = step === 'IndexError' || (isOver && json['success'] === false);
  return { state: hasFailed ? 'failed' : isOver ? 'finished' : 'running', step, error };
}

/**
 * Clair v4's VulnerabilityReport (its OpenAPI document, "VulnerabilityReport").
 * @throws QuayctlError `protocol` for one of another image, or whose parts do not fit together; `limit`
 */
export function parseClairReport(bytes: Uint8Array, digest: Digest, source: ReportSource): SecurityReport {
  const json = parseJsonObject(bytes, "Clair's report", MAX_REPORT_BYTES);
  assertAbout(json, digest);
  const packages = entries(json, 'packages');
  const flaws = parseVulnerabilities(json);
  const environments = entries(json, 'environments');
  const found = entries(json, 'package_vulnerabilities');
  for (const id of found.keys()) if (!packages.has(id)) throw dangling('package', id);
  return makeReport(digest, source, read());

  function* read(): Generator<ImagePackage> {
    for (const [id, value] of packages) {
      const { name, version } = object(value, "Clair's report: a package");
      const ids = list(found.get(id) ?? null, "Clair's report: package_vulnerabilities", MAX_OF_PACKAGE);
      yield readPackage({
        name,
        otherName: `package ${foreignText(id, 40)}`,
        version,
        layer: layerOf(environments.get(id)),
        vulnerabilities: ids.map((each) => {
          const flaw = flaws.get(String(each));
          // A report that lost one of its flaws must not be taken for a better one.
          if (flaw === undefined) throw dangling('vulnerability', String(each));
          return flaw;
        }),
      });
    }
  }
}

function parseVulnerabilities(json: JsonObject): ReadonlyMap<string, Vulnerability> {
  const scores = parseScores(json);
  const flaws = new Map<string, Vulnerability>();
  for (const [id, value] of entries(json, 'vulnerabilities')) {
    const flaw = object(value, "Clair's report: a vulnerability");
    const told = {
      name: flaw['name'],
      otherName: `vulnerability ${foreignText(id, 40)}`,
      severity: flaw['normalized_severity'],
      score: scores.get(id),
      fixedIn: fixedVersion(flaw['fixed_in_version']),
      links: flaw['links'],
      description: flaw['description'],
    };
    flaws.set(id, readVulnerability(told));
  }
  return flaws;
}

/** By ID of the vulnerability: `enrichments` of Clair's own CVSS enricher, `{TYPE: [{ID: [{baseScore}]}]}`. */
function parseScores(json: JsonObject): ReadonlyMap<string, number> {
  const scores = new Map<string, number>();
  for (const [type, value] of entries(json, 'enrichments')) {
    if (!/;\s*enricher=clair\.cvss(?:\s|$)/.test(type)) continue;
    for (const group of list(value, "Clair's report: an enrichment", MAX_ENRICHMENTS)) {
      for (const [id, records] of Object.entries(object(group, "Clair's report: an enrichment"))) {
        const best = Math.max(...list(records, "Clair's report: scores", MAX_SCORES).map(baseScore));
        if (Number.isFinite(best)) scores.set(id, Math.max(best, scores.get(id) ?? 0));
      }
    }
  }
  return scores;
}

/** -Infinity for what is no score. */
function baseScore(record: unknown): number {
  const { baseScore: score } = Object(record) as { baseScore?: unknown };
  return isScore(score) ? score : -Infinity;
}

/**
 * Clair's `fixed_in_version` is a version, `0` for none, or a query string (`fixed=1.2.3&introduced=1.0`) where its
 * data comes from OSV.
 * @returns the empty string for none
 */
export function fixedVersion(value: unknown): string {
  const text = foreignText(value, MAX_NAME);
  if (text === '0') return '';
  if (!/^(?:fixed|introduced|lastAffected)=/.test(text)) return text;
  return foreignText(new URLSearchParams(text).get('fixed') ?? '', MAX_NAME);
}

/** An object of a report by its keys; null is the empty one, as Go writes a nil map. A key may be `__proto__`. */
function entries(json: JsonObject, key: string): ReadonlyMap<string, unknown> {
  const value = json[key] ?? {};
  const pairs = Object.entries(object(value, `Clair's report: ${key}`));
  if (pairs.length > MAX_PACKAGES) {
    throw new QuayctlError('limit', `Clair's report: more than ${MAX_PACKAGES} ${key}`);
  }
  return new Map(pairs);
}

/** `introduced_in` of the first environment that has one. Old versions of Clair write it without `sha256:`. */
function layerOf(environments: unknown): Digest | undefined {
  if (!Array.isArray(environments)) return undefined;
  for (const environment of environments.slice(0, 100)) {
    const { introduced_in: layer } = Object(environment) as { introduced_in?: unknown };
    if (typeof layer !== 'string') continue;
    const digest = layer.includes(':') ? layer : `sha256:${layer}`;
    if (isDigest(digest)) return digest;
  }
  return undefined;
}

function assertAbout(json: JsonObject, digest: Digest): void {
  const { manifest_hash: hash } = json;
  if (hash === digest) return;
  const told = foreignText(hash, 100);
  const other = told === '' ? 'does not say which image it is about' : `is about ${told}, not ${digest}`;
  throw new QuayctlError('protocol', `Clair's report ${other}`);
}

function dangling(what: string, id: string): QuayctlError {
  const message = `Clair's report names ${what} ${foreignText(id, 40)}, which is not in it`;
  return new QuayctlError('protocol', message);
}
