import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';
import type { Scope } from './processes.ts';
import { programPath } from './programs.ts';

/** For what a busy machine takes its time for. */
const PATIENCE_MS = 120_000;

export interface Look {
  readonly width: number;
  readonly height?: number;
  readonly scheme?: 'light' | 'dark';
}

/** A real browser, Debian's Chromium, without a window. It reaches loopback alone. */
export async function openBrowser(scope: Scope): Promise<Browser> {
  const browser = await chromium.launch({
    executablePath: programPath('chromium'),
    // As root it has no sandbox; it sees nothing but pages of the test's own.
    args: ['--no-sandbox', '--disable-gpu', '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1'],
  });
  scope.after(() => browser.close());
  return browser;
}

/** A page in a window of that size; what it complains of is kept in `complaints`. */
export async function openPage(
  browser: Browser,
  url: string,
  { width, height = 900, scheme = 'light' }: Look,
): Promise<{ readonly page: Page; readonly context: BrowserContext; readonly complaints: string[] }> {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: scheme,
    locale: 'en-GB',
    timezoneId: 'UTC',
    deviceScaleFactor: width < 600 ? 2 : 1,
  });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  await page.goto(url);
  return { page, context, complaints };
}
