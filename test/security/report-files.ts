import { digestOf } from '../../src/image/digest.ts';

/** Of no image that there is. */
export const DIGEST = digestOf(Buffer.from('a manifest'));
export const LAYER = digestOf(Buffer.from('a layer'));
export const CLAIR = { kind: 'clair', host: 'clair.example:6060' } as const;

/** A flaw as Clair writes it. */
export function clairFlaw(id: string, more: Readonly<Record<string, unknown>> = {}): object {
  return {
    id,
    name: `CVE-2026-${id}`,
    description: 'a flaw',
    links: 'https://cve.example/1',
    normalized_severity: 'High',
    fixed_in_version: '',
    ...more,
  };
}

/** A VulnerabilityReport of Clair's: two packages, of which `one` has the flaws. */
export function clairReport(flaws: readonly object[], more: Readonly<Record<string, unknown>> = {}): Buffer {
  const ids = flaws.map((flaw) => (flaw as { id: string }).id);
  const json = {
    manifest_hash: DIGEST,
    packages: { 7: { id: '7', name: 'one', version: '1.0' }, 8: { id: '8', name: 'two', version: '2.0' } },
    environments: { 7: [{ introduced_in: LAYER }] },
    vulnerabilities: Object.fromEntries(ids.map((id, at) => [id, flaws[at]])),
    package_vulnerabilities: { 7: ids },
    enrichments: {},
    ...more,
  };
  return Buffer.from(JSON.stringify(json));
}
