import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import type { Page } from 'playwright-core';
import { startAdmin } from '../../src/admin/admin-listener.ts';
import { adminPages } from '../../src/admin/admin-pages.ts';
import type { StatusSource } from '../../src/admin/status.ts';
import { openBrowser, openPage } from '../helpers/browser.ts';
import { skipWithout } from '../helpers/programs.ts';

/** Of axe-core: what keeps people from using a page. */
const SERIOUS = ['serious', 'critical'];

test(
  'whatever nodes, registries and logs say is text on the page, and nothing of it runs',
  { skip: skipWithout('chromium') },
  async (t) => {
    const evil = `"><img src=x onerror=alert(1)><script>alert(2)</script>'\`\${3}</style>\u202eabc\u0000`;
    const admin = await startAdmin(
      { place: { host: '127.0.0.1', port: 0 } },
      new Map(adminPages(hostileSource(evil))),
      () => undefined,
    );
    t.after(() => admin.close());
    const browser = await openBrowser(t);
    const { page, complaints } = await openPage(browser, `${admin.url}/#swarm=${'a'.repeat(16)}`, {
      width: 1440,
    });
    const dialogs: string[] = [];
    page.on('dialog', (dialog) => {
      dialogs.push(dialog.message());
      void dialog.dismiss();
    });
    await page.locator('.members .who').first().waitFor();
    await page.locator('.troubles .message').first().waitFor();
    for (const place of ['.repository', '.tag', '.members .who', '.message', '.address', '#upstream']) {
      const text = (await page.locator(place).first().textContent()) ?? '';
      assert.ok(text.includes('<img src=x onerror=alert(1)><script>'), `${place}: ${text}`);
    }
    assert.equal(await page.locator('main img, main script').count(), 0);
    assert.deepEqual([dialogs, complaints], [[], []]);
    const answer = await fetch(`${admin.url}/`);
    const policy = answer.headers.get('content-security-policy') ?? '';
    assert.match(
      policy,
      /^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-[^']+'; connect-src 'self';/,
    );
    assert.doesNotMatch(policy, /unsafe|\*|https?:/);
  },
);

for (const scheme of ['light', 'dark'] as const) {
  test(
    `in ${scheme} colours the page can be used by everybody, on a phone, too, and by the keyboard`,
    { skip: skipWithout('chromium') },
    async (t) => {
      const source = hostileSource('a quite ordinary text');
      const admin = await startAdmin(
        { place: { host: '127.0.0.1', port: 0 } },
        new Map(adminPages(source)),
        () => undefined,
      );
      t.after(() => admin.close());
      const browser = await openBrowser(t);
      for (const width of [390, 1440]) {
        const { page, context, complaints } = await openPage(browser, `${admin.url}/`, { width, scheme });
        await page.locator('.opener').first().focus();
        await page.keyboard.press('Enter');
        await page.locator('.members canvas').first().waitFor();
        assert.equal(await page.locator('.opener[aria-expanded=true]').count(), 1);
        assert.equal(await page.evaluate('document.activeElement.className'), 'opener');
        await assertAccessible(page, `${width}, ${scheme}`);
        const wide = await page.evaluate<number>('document.documentElement.scrollWidth');
        assert.ok(wide <= width, `${width}: nothing has to be scrolled to the side, but ${wide}`);
        assert.deepEqual(complaints, []);
        await context.close();
      }
    },
  );
}

async function assertAccessible(page: Page, what: string): Promise<void> {
  const source = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  // The page's own policy forbids scripts of others; evaluating is the browser's own door.
  const found = (await page.evaluate(`${source};
    axe.run(document).then(({ violations }) => violations.map(({ id, impact, nodes }) =>
      ({ id, impact, where: nodes.map(({ target }) => target.join(' ')).slice(0, 3) })))`)) as {
    readonly impact: string;
  }[];
  assert.deepEqual(
    found.filter(({ impact }) => SERIOUS.includes(impact)),
    [],
    what,
  );
}

function hostileSource(evil: string): StatusSource {
  const sums = { fromPeers: 5e9, fromRegistry: 1e9 };
  const id = 'a'.repeat(16);
  const swarm = {
    ...{
      id,
      repository: evil,
      kind: 'layer' as const,
      tags: [evil],
      digest: `sha256:${evil}`,
      size: 1000,
      pieces: 8,
    },
    ...{ seeds: 1, leeches: 1, medianDone: 0.5, rate: 10, etaSeconds: 3, seenAt: 0, ...sums },
  };
  const member = { node: evil, address: evil, done: 0.5, isSeed: false, rate: 1, ...sums };
  return {
    status: () =>
      Promise.resolve({
        ...{ schemaVersion: 1, role: 'service', version: evil, at: 1, startedAt: 0, upstreams: [evil] },
        ...{ tracker: 'external', total: { ...sums, since: 0 }, day: sums, isPartial: true },
        now: { swarms: 1, nodes: 1, seeds: 1, leeches: 1, rate: 1 },
        work: [{ what: 'hashing', name: evil, size: 10, read: 5, etaSeconds: 1, isBegun: true }],
        disk: { used: 1, limit: 2, free: 3 },
        keys: [{ id: evil, madeAt: 0, signs: true }],
        troubles: [{ message: evil, count: 2, lastAt: 0 }],
      }),
    history: () => ({ from: 0, stepSeconds: 60, fromPeers: [1, 2], fromRegistry: [1, 1] }),
    swarms: () => ({ total: 1, rows: [swarm] }),
    nodes: () => ({
      total: 1,
      rows: [
        {
          ...{
            id: evil,
            address: evil,
            port: 1,
            version: evil,
            pulls: 1,
            holds: 1,
            names: [evil],
            given: 1,
            ...sums,
          },
          ...{ rate: 1, seenAt: 0, isHere: true, reachable: 'no' as const },
        },
      ],
    }),
    swarm: () => ({
      ...swarm,
      members: [member, { ...member, node: 'b', have: 'gA==', fetching: [1], claimed: [2] }],
    }),
    watch: () => () => undefined,
  };
}
