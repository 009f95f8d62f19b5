import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Metafile } from 'esbuild';

/** An npm package of which the bundle holds at least one file. */
export interface BundledPackage {
  readonly name: string;
  readonly version: string;
  /** As package.json has it, most often an SPDX expression. */
  readonly license: string;
  /** Copyright and conditions, as they must travel with the bundle. */
  readonly notice: string;
}

const OWN_TEXTS = join(import.meta.dirname, 'licenses');
/** What authors write who do not know SPDX's names. */
const SPDX: Readonly<Record<string, string>> = { BSD: 'BSD-2-Clause', 'LGPL-3.0+': 'LGPL-3.0-or-later' };

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license?: string | { readonly type: string };
  readonly author?: string | { readonly name: string };
}

/**
 * @param root of the checkout
 * @param apart files of packages that are published beside the bundle
 * @throws where a package has no license text and its license is none of scripts/licenses
 */
export async function bundledPackages(
  root: string,
  { inputs }: Pick<Metafile, 'inputs'>,
  apart: readonly string[],
): Promise<BundledPackage[]> {
  const paths = [...Object.keys(inputs), ...apart];
  const folders = paths.flatMap((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []);
  return Promise.all([...new Set(folders)].toSorted().map((folder) => describe(join(root, folder))));
}

async function describe(folder: string): Promise<BundledPackage> {
  const manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as Manifest;
  const { name, version, license: declared = '' } = manifest;
  const said = typeof declared === 'string' ? declared : declared.type;
  const license = SPDX[said] ?? said;
  return { name, version, license, notice: await noticeOf(folder, manifest, license) };
}

async function noticeOf(folder: string, { name, author }: Manifest, license: string): Promise<string> {
  const files = (await readdir(folder)).filter((file) => /^(?:licen[cs]e|copying|notice)/i.test(file));
  const texts = await Promise.all(files.toSorted().map((file) => readFile(join(folder, file), 'utf8')));
  // The LGPL is a supplement to the GPL, whose text must come with it (LGPL 3, section 4b).
  if (license.startsWith('LGPL-3.0')) texts.push(await readFile(join(OWN_TEXTS, 'GPL-3.0.txt'), 'utf8'));
  if (texts.length > 0) return texts.map((text) => text.trim()).join('\n\n');
  const conditions = await readFile(join(OWN_TEXTS, `${license}.txt`), 'utf8');
  const holder = (typeof author === 'string' ? author : author?.name) ?? `the authors of ${name}`;
  return `Copyright (c) ${holder}\n\n${conditions.trim()}`;
}

export function licensesText(packages: readonly BundledPackage[]): string {
  return packages
    .map(({ name, version, license, notice }) => `${name} ${version} (${license})\n\n${notice}\n`)
    .join(`\n${'-'.repeat(80)}\n\n`);
}

/** CycloneDX 1.6 in JSON; the same bundle gives the same bytes. */
export function cycloneDx(
  { name, version, license }: Pick<BundledPackage, 'name' | 'version' | 'license'>,
  packages: readonly BundledPackage[],
): string {
  const component = (type: string, it: Pick<BundledPackage, 'name' | 'version' | 'license'>) => {
    const purl = `pkg:npm/${it.name.replace('@', '%40')}@${it.version}`;
    return {
      type,
      'bom-ref': purl,
      name: it.name,
      version: it.version,
      licenses: [{ license: { id: it.license } }],
      purl,
    };
  };
  const document = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: { component: component('application', { name, version, license }) },
    components: packages.map((each) => component('library', each)),
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}
