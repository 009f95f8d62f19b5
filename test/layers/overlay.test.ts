import { test } from 'node:test';
import { startDockerd } from '../helpers/dockerd.ts';
import { skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { compareWithOverlay } from './overlay-check.ts';

/** `scripts/random-stacks` tries more. */
const STACKS = 100;

test(
  'random stacks of layers, merged, are what overlayfs shows of them in a real Docker Engine',
  { skip: skipWithout('root', 'dockerd', 'docker') },
  async (t) => {
    const dockerd = await startDockerd(t);
    const seeds = Array.from({ length: STACKS }, (_, at) => at);
    const { paths } = await compareWithOverlay(dockerd, seeds, await tempDirectory(t, 'stacks'));
    t.diagnostic(`${STACKS} stacks, ${paths} paths`);
  },
);
