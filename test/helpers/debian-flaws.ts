import type { Flaw } from './clair.ts';

const flaw = (number: number, severity: string, more: Partial<Flaw> = {}): Flaw => ({
  name: `CVE-2026-${number}`,
  severity,
  description: `A made-up flaw, number ${number}.`,
  links: `https://security-tracker.example/tracker/CVE-2026-${number} https://cve.example/CVE-2026-${number}`,
  ...more,
});
/** The version that mends it is the installed one with an update of the distribution. */
const mended = { fixed: '+deb1' };

/**
 * 23 flaws of a Debian made by debootstrap, of which four upgrades remove 11. All are made up: what matters is that a
 * report has each kind, and that the packages are really in the image.
 */
export const DEBIAN_FLAWS: Readonly<Record<string, readonly Flaw[]>> = {
  libc6: [
    flaw(10_001, 'Critical', { ...mended, cvss: 9.8 }),
    flaw(10_002, 'High', { ...mended, cvss: 8.1 }),
    flaw(10_003, 'Medium', { ...mended, cvss: 5.9 }),
    flaw(10_004, 'Low', { fixed: '+deb2' }),
    flaw(10_005, 'Negligible'),
  ],
  zlib1g: [
    flaw(10_011, 'High', { ...mended, cvss: 8.8 }),
    flaw(10_012, 'Medium', mended),
    flaw(10_013, 'Low', mended),
  ],
  libgnutls30: [flaw(10_021, 'High', { ...mended, cvss: 7.5 }), flaw(10_022, 'Medium', mended)],
  tar: [flaw(10_031, 'Medium', mended), flaw(10_032, 'Low', mended)],
  'perl-base': [
    flaw(10_041, 'High', { cvss: 8.6 }),
    flaw(10_042, 'Medium'),
    flaw(10_043, 'Low'),
    flaw(10_044, 'Unknown'),
  ],
  login: [flaw(10_051, 'Low'), flaw(10_052, 'Low'), flaw(10_053, 'Negligible')],
  coreutils: [flaw(10_061, 'Low'), flaw(10_062, 'Unknown', { cvss: 4.4 })],
  bash: [flaw(10_071, 'Negligible')],
  dpkg: [flaw(10_081, 'Medium')],
};
