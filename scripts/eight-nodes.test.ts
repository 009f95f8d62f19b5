import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Status } from '../src/admin/status.ts';
import { openBrowser, openPage } from '../test/helpers/browser.ts';
import { skipWithout } from '../test/helpers/programs.ts';
import { openPageStage } from '../test/admin/kit.ts';

const NODES = 8;
/** The pipe until the page has shown what it is to show of a pull that runs, and after. */
const SLOW = 2_000_000;
const FAST = 5_000_000;
const SCREENS = join(import.meta.dirname, '../.screens');
const LOOKS = [390, 1440].flatMap((width) =>
  (['light', 'dark'] as const).map((scheme) => ({ width, height: 900, scheme })),
);

test(
  'eight nodes pull: the page shows them live, its sums are those of the receipts, and it outlives the service',
  { skip: skipWithout('chromium'), timeout: 200_000 },
  async (t) => {
    const stage = await openPageStage(t, {
      images: { 'team/shop:2.3': [24_000_000, 7_000_000] },
      bytesPerSecond: SLOW,
    });
    const browser = await openBrowser(t);
    const url = `${stage.service.adminUrl}/`;
    const { page, complaints } = await openPage(browser, url, { width: 1440 });
    const asked: string[] = [];
    page.on('request', (request) => asked.push(new URL(request.url()).origin));
    await page.getByText('Nothing yet').waitFor();

    const pulls = await Promise.all(Array.from({ length: NODES }, () => stage.pull('team/shop:2.3')));
    await page.locator('#connection', { hasText: 'live' }).waitFor();
    const opener = page.locator('.opener').first();
    await opener.waitFor();
    // By the keyboard alone.
    await opener.focus();
    await page.keyboard.press('Enter');
    await page.locator('.members canvas').first().waitFor();
    assert.equal(await page.locator('.opener[aria-expanded=true]').count(), 1);
    assert.equal(await page.evaluate('document.activeElement.className'), 'opener');
    await page.locator('.repository', { hasText: 'team/shop' }).waitFor();
    await page.locator('.tag', { hasText: '2.3' }).waitFor();

    stage.pipe.link.bytesPerSecond = FAST;

    t.diagnostic('seen live');
    const receipts = await Promise.all(pulls.map(({ receipt }) => receipt()));
    const sum = (pick: (total: (typeof receipts)[number]['total']) => number): number =>
      receipts.reduce((all, { total }) => all + pick(total), 0);
    const sums = {
      fromPeers: sum((total) => total.fromPeers),
      fromRegistry: sum((total) => total.fromRegistry),
    };
    t.diagnostic(`pulled: ${JSON.stringify(sums)}`);
    const told = await waitForStatus(
      url,
      ({ total }) => total.fromPeers + total.fromRegistry >= sums.fromPeers + sums.fromRegistry,
    );
    assert.deepEqual({ ...told.total, since: 0 }, { ...sums, since: 0 });
    assert.ok(sums.fromPeers > sums.fromRegistry, JSON.stringify(sums));
    await page.locator('#sums .peers dd', { hasText: shown(sums.fromPeers) }).waitFor();
    await page.locator('#sums .registry dd', { hasText: shown(sums.fromRegistry) }).waitFor();
    await page
      .locator('.nodes tbody tr', { hasText: 'seeds 2' })
      .nth(NODES - 1)
      .waitFor();
    t.diagnostic('all seed');
    for (const look of LOOKS) {
      const own = await openPage(browser, page.url(), look);
      await own.page
        .locator('.nodes tbody tr')
        .nth(NODES - 1)
        .waitFor();
      await own.page.locator('#plot canvas').waitFor();
      const path = join(SCREENS, `page-${look.width}-${look.scheme}.png`);
      await own.page.screenshot({ path, fullPage: true });
      const width = await own.page.evaluate<number>('document.documentElement.scrollWidth');
      assert.ok(width <= look.width, `${look.width}: nothing has to be scrolled to the side, ${width}`);
      assert.deepEqual(own.complaints, []);
      await own.context.close();
    }

    assert.deepEqual(complaints, []);
    t.diagnostic('screens');
    await stage.restart();
    await page.locator('#connection', { hasText: 'live' }).waitFor();
    await waitForStatus(url, ({ startedAt }) => startedAt > told.startedAt);
    await page.locator('#sums .peers dd', { hasText: shown(sums.fromPeers) }).waitFor();
    assert.deepEqual([...new Set(asked)], [new URL(url).origin], 'no network but its own listener');
  },
);

/** As the page writes it: three digits. */
function shown(bytes: number): string {
  return `${(bytes / 1e6).toPrecision(3)} MB`;
}

async function waitForStatus(url: string, isSo: (status: Status) => boolean): Promise<Status> {
  for (;;) {
    const status = (await (await fetch(`${url}api/v1/status`)).json()) as Status;
    if (isSo(status)) return status;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
