import assert from 'node:assert/strict';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { mustRun } from '../helpers/processes.ts';
import { programPath, skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';

const DEMO = join(import.meta.dirname, '../../scripts/demo.ts');
const MOST_MS = 120_000;
const LAST_LINE = /have the digests that they are named by|docker rmi/;

for (const columns of [60, 80, 130]) {
  test(
    `scripts/demo on a terminal of ${columns} columns: one row for each node, however often it is drawn`,
    { skip: skipWithout('tmux') },
    async (t) => {
      const directory = await tempDirectory(t, 'tmux');
      const tmux = (...args: string[]): Promise<string> =>
        mustRun(programPath('tmux'), ['-S', join(directory, 'socket'), '-f', '/dev/null', ...args]);
      const command = `'${process.execPath}' '${DEMO}' --small; cat`;
      await tmux('new-session', '-d', '-x', String(columns), '-y', '50', '-s', 'demo', command);
      let shown = '';
      try {
        const begun = performance.now();
        while (!LAST_LINE.test(shown)) {
          assert.ok(performance.now() - begun < MOST_MS, shown);
          await sleep(200);
          // -J joins rows that the terminal has wrapped.
          shown = await tmux('capture-pane', '-p', '-J', '-S', '-', '-t', 'demo');
        }
      } finally {
        // Not in a hook: they run in the order of their making, and the socket's directory goes first.
        await tmux('kill-server');
      }
      const bars = shown.split('\n').filter((line) => /^ {2}node \d .*█/.test(line));
      assert.equal(bars.length, 3, shown);
      for (const bar of bars) assert.ok(bar.trimEnd().length < columns, bar);
      const [, times = ''] = /with quayctl .* (\d+\.\d+)$/m.exec(shown) ?? [];
      assert.ok(Number(times) < 2.5, `nodes give each other what they pull: ${shown}`);
    },
  );
}
