import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build, transform, type Metafile } from 'esbuild';

const ROOT = join(import.meta.dirname, '../..');
/** Where the sources of the page lie. */
const HERE = join(import.meta.dirname, 'page');

/**
 * The page as one file: script and style, those of uPlot among them, go into page.html.
 * @returns what went into it, too, relative to the root of the checkout
 */
export async function buildPage(): Promise<{ readonly html: string; readonly metafile: Metafile }> {
  const { outputFiles, metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: [join(HERE, 'main.ts')],
    bundle: true,
    format: 'iife',
    platform: 'browser',
    target: 'es2023',
    minify: true,
    legalComments: 'none',
    metafile: true,
    write: false,
  });
  const script = outputFiles[0]?.text.trim() ?? '';
  const style = await minified([join(ROOT, 'node_modules/uplot/dist/uPlot.min.css'), join(HERE, 'page.css')]);
  const template = await readFile(join(HERE, 'page.html'), 'utf8');
  const html = template
    .replace('<style></style>', () => `<style>${style}</style>`)
    // What ends a script element must not stand in one (HTML standard, section 4.12.1.3).
    .replace('<script></script>', () => `<script>${script.replaceAll('</script', '<\\/script')}</script>`);
  return { html, metafile };
}

async function minified(paths: readonly string[]): Promise<string> {
  const texts = await Promise.all(paths.map((path) => readFile(path, 'utf8')));
  const { code } = await transform(texts.join('\n'), { loader: 'css', minify: true, legalComments: 'none' });
  return code.trim();
}
