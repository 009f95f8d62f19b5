import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { send, type RequestContext, type Route } from '../http-server/request-context.ts';

/** Written by scripts/build, beside the bundle. */
const BUILT = new URL('../page.html', import.meta.url);

interface PageFile {
  readonly html: string;
  readonly policy: string;
}

/** `/`: one HTML file with its script and its style in it, and leave to talk to this listener alone. */
export function pageRoute(): Route {
  let page: Promise<PageFile> | undefined;
  return async (exchange: RequestContext): Promise<void> => {
    const { html, policy } = await (page ??= openPage());
    const headers = {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': policy,
      'referrer-policy': 'no-referrer',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
      'cache-control': 'no-store',
    };
    send(exchange, 200, headers, html);
  };
}

async function openPage(): Promise<PageFile> {
  const html = await readFile(BUILT, 'utf8').catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    // In a checkout nothing is built ahead.
    const { buildPage } = await import('./build-page.ts');
    return (await buildPage()).html;
  });
  return { html, policy: policyFor(html) };
}

/** Content Security Policy 3: the script and style of this very page, and this listener's events. */
function policyFor(html: string): string {
  const hashOf = (element: string): string => {
    const [, content = ''] = new RegExp(`<${element}[^>]*>([\\s\\S]*?)</${element}>`).exec(html) ?? [];
    return `'sha256-${createHash('sha256').update(content).digest('base64')}'`;
  };
  return [
    "default-src 'none'",
    `script-src ${hashOf('script')}`,
    `style-src ${hashOf('style')}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join('; ');
}
