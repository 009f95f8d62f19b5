import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '../..');
/** What scripts/release makes; it could be published as it is. */
export const RELEASE = join(ROOT, 'dist/release');
