import assert from 'node:assert/strict';
import { test } from 'node:test';
import { printable, printableLine } from '../../src/cli/printable.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { TestLayout } from '../helpers/images.ts';

const HOSTILE = '\u001b]0;owned\u0007 \u009b2J \r over \u202egpj.exe \u200b\u{e0041}\u007f';

/** Cc without line feed and tab, and Cf. */
const UNPRINTABLE = /[^\P{Cc}\n\t]|\p{Cf}/u;

test('control and format characters are written out, line feeds, tabs and letters stay', () => {
  assert.equal(
    printable(HOSTILE),
    String.raw`\u001b]0;owned\u0007 \u009b2J \u000d over \u202egpj.exe \u200b\udb40\udc41\u007f`,
  );
  assert.equal(printable('a\n\tb äö 日本 🙂'), 'a\n\tb äö 日本 🙂');
  assert.equal(printableLine('one\n  two\r\nthree'), 'one two three');
  const json = JSON.stringify({ text: HOSTILE });
  assert.deepEqual(JSON.parse(printable(json)), { text: HOSTILE });
});

test('what the command line quotes cannot move the cursor', async (t) => {
  const node = await quayctlNode(t);
  const { stderr, code } = await node.run(['docker', 'torrent', 'pull', HOSTILE.replaceAll('\0', '')]);
  assert.equal(code, 2);
  assert.doesNotMatch(stderr, UNPRINTABLE);
});

test("nor can a request in the service's log", async (t) => {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  await layout.addImage({ layers: [] }, 'team/app:1.0');
  const node = await quayctlNode(t);
  const process_ = node.start([
    ...[
      'serve',
      '--upstream',
      `oci:${layout.directory}`,
      '--listen',
      '127.0.0.1:0',
      '--admin-listen',
      'none',
      '--debug',
    ],
  ]);
  const [url] = await process_.waitFor(/^http:\S+$/m);
  await fetch(`${url}/%C2%9B2J%E2%80%AEx`);
  await process_.waitFor(/event=request/);
  await process_.kill();
  assert.doesNotMatch(process_.stderr(), UNPRINTABLE);
});
