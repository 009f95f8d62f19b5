import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { manualPages } from './manual-pages.ts';

const [folder] = process.argv.slice(2);
if (folder === undefined) {
  process.stderr.write('scripts/man DIR\n');
  process.exit(2);
}
await mkdir(folder, { recursive: true });
for (const [name, text] of manualPages()) await writeFile(join(folder, name), text);
