import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openPageStage } from '../test/admin/kit.ts';
import { openBrowser, openPage } from '../test/helpers/browser.ts';
import { openScope } from './bench/scope.ts';

const OUT = join(import.meta.dirname, '../docs/images');
const NODES = 8;
const IMAGE = 'team/shop:2.3';
const WARM_BYTES_PER_SECOND = 8_000_000;
const BYTES_PER_SECOND = 2_000_000;
/** Of the pull that is pictured. */
const WANTED_DONE = 0.35;

const scope = openScope();
try {
  const stage = await openPageStage(scope, {
    images: { 'team/base:12': [9_000_000], [IMAGE]: [24_000_000, 7_000_000] },
    bytesPerSecond: WARM_BYTES_PER_SECOND,
  });
  const browser = await openBrowser(scope);
  const { page } = await openPage(browser, `${stage.service.adminUrl}/`, { width: 1440, height: 1000 });
  const warm = await Promise.all(Array.from({ length: 4 }, () => stage.pull('team/base:12')));
  await Promise.all(warm.map(({ receipt }) => receipt()));
  stage.pipe.link.bytesPerSecond = BYTES_PER_SECOND;
  for (let at = 0; at < NODES; at++) await stage.pull(IMAGE);
  const row = page.locator('.layer', { hasText: '24.0 MB' });
  await row.locator('.opener').click();
  await page
    .locator('.members canvas')
    .nth(NODES - 2)
    .waitFor();
  for (;;) {
    const [, done = '0'] =
      /median (\d+)/.exec((await row.locator('.done .bar').getAttribute('aria-label')) ?? '') ?? [];
    if (Number(done) >= WANTED_DONE * 100) break;
    await sleep(500);
  }
  await page.mouse.move(0, 0);
  await page.screenshot({ path: join(OUT, 'page.png') });
  const phone = await openPage(browser, page.url(), { width: 390, height: 1000, scheme: 'dark' });
  await phone.page
    .locator('.members canvas')
    .nth(NODES - 2)
    .waitFor();
  await phone.page.screenshot({ path: join(OUT, 'page-phone.png'), scale: 'css' });
} finally {
  await scope.end();
}
process.exit(0);
