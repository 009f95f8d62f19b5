import { Worker } from 'node:worker_threads';

/** How often the main loop beats. */
const BEAT_MS = 500;
/** After so many seconds without a beat the main loop counts as standing still. */
const STILL_SECONDS = 5;

/** Runs in a thread of its own, so that it can see the main loop stand still. Told in one string: builds bundle files. */
const WATCH = `
const { workerData } = require('node:worker_threads');
const beats = new Int32Array(workerData.beats);
let last = 0;
let still = 0;
setInterval(() => {
  const now = Atomics.load(beats, 0);
  // Counted in ticks of its own: where the whole machine stood still, both did.
  still = now === last ? still + 1 : 0;
  last = now;
  if (still >= workerData.seconds) process.kill(process.pid, 'SIGKILL');
}, 1000);
`;

/**
 * Ends this process where its main loop stands still for 5 s: engines wait for ever for a mirror that says nothing, and ask
 * the registry at once where nobody listens.
 * @returns stops watching
 */
export function startWatchdog(): () => Promise<number> {
  const beats = new SharedArrayBuffer(4);
  const counter = new Int32Array(beats);
  const timer = setInterval(() => Atomics.add(counter, 0, 1), BEAT_MS).unref();
  const resourceLimits = { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 4, stackSizeMb: 1 };
  const worker = new Worker(WATCH, {
    eval: true,
    workerData: { beats, seconds: STILL_SECONDS },
    resourceLimits,
  });
  worker.unref();
  return () => {
    clearInterval(timer);
    return worker.terminate();
  };
}
