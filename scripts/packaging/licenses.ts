import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ROOT } from './places.ts';

/** Our license, then those of all that is inside. */
export async function allLicenses(nodeLicense: string): Promise<string> {
  const own = await readFile(join(ROOT, 'LICENSE'), 'utf8');
  const bundled = await readFile(join(ROOT, 'dist/LICENSES.txt'), 'utf8');
  const rule = `\n${'='.repeat(80)}\n\n`;
  return [
    `quayctl\n\n${own}`,
    `Libraries inside quayctl\n\n${bundled}`,
    `Node.js, inside the executables\n\n${nodeLicense}`,
  ].join(rule);
}
