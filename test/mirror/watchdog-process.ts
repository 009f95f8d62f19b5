import { startWatchdog } from '../../src/cli/watchdog.ts';

/** A process with a watchdog whose main loop stands still as soon as a line comes on its standard input. */
startWatchdog();
process.stdout.write('watching\n');
process.stdin.once('data', () => {
  for (;;);
});
