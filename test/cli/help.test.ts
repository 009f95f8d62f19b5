import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Command } from 'commander';
import { makeProgram } from '../../src/cli/program.ts';
import type { Session } from '../../src/cli/session.ts';
import { manualPages } from '../../scripts/manual-pages.ts';
import { run } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';

const COLUMNS = 80;

function commandsOf(command: Command): Command[] {
  return [command, ...command.commands.flatMap(commandsOf)];
}

describe('help', () => {
  const all = commandsOf(makeProgram({ version: '1.2.3' } as Session));

  test('fits 80 columns, and every command that does something has an example', () => {
    for (const command of all) {
      let shown = '';
      command.configureOutput({ writeOut: (text) => (shown += text), getOutHelpWidth: () => COLUMNS });
      command.outputHelp();
      const wide = shown
        .split('\n')
        .filter((line) => line.length > COLUMNS && !/^ {2}(?:quayctl|QUAYCTL|echo) /.test(line));
      assert.deepEqual(wide, [], command.name());
      if (command.commands.length === 0 && command.name() !== 'version')
        assert.match(shown, /\nFor example:\n {2}\S/, command.name());
    }
  });

  test('a long list of flags stands in groups', () => {
    const pull = all.find((command) => command.name() === 'pull' && command.parent?.name() === 'torrent');
    const help = pull?.helpInformation() ?? '';
    for (const heading of ['What is pulled', 'Where the bytes come from', 'Network', 'What it prints'])
      assert.match(help, new RegExp(`^${heading}:$`, 'm'));
  });
});

describe('manual pages', () => {
  const pages = manualPages();

  test('each command has one, which names all of its flags', () => {
    for (const command of commandsOf(makeProgram({ version: '1.2.3' } as Session))) {
      const path: string[] = [];
      for (let at: Command | null = command; at !== null; at = at.parent) path.unshift(at.name());
      const page = pages.get(`${path.join('-')}.1`) ?? '';
      for (const { long, hidden } of command.options) {
        if (!hidden)
          assert.ok(page.includes((long ?? '').replaceAll('-', '\\-')), `${path.join(' ')} ${long}`);
      }
    }
  });

  test('groff finds nothing wrong with them', { skip: skipWithout('groff') }, async () => {
    const ended = await run('groff', ['-man', '-Tutf8', '-ww', '-z'], {
      input: [...pages.values()].join(''),
    });
    assert.deepEqual([ended.code, ended.stderr], [0, '']);
  });
});
