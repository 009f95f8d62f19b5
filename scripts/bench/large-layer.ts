// Two nodes pull one layer of 2 GiB (or the MiB that are given): do they, how fast, and in how much memory?
//   node scripts/bench/large-layer.ts [MiB]
// Not a test: it takes minutes and four times the layer in disk space.
import { readFileSync } from 'node:fs';
import { randomLayer, TestLayout } from '../../test/helpers/images.ts';
import { quayctlNode } from '../../test/helpers/quayctl.ts';
import { tempDirectory } from '../../test/helpers/temp.ts';

const MIB = 1024 * 1024;
const mebibytes = Number(process.argv[2] ?? 2048);
const ends: (() => void | Promise<void>)[] = [];
const scope = { after: (end: () => void | Promise<void>): void => void ends.unshift(end) };

/** The most memory that a living process ever had, MiB (Linux). */
function peakMemory(pid: number): number {
  const found = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Math.round(Number(found?.[1]) / 1024);
}

try {
  const layout = await TestLayout.create(await tempDirectory(scope, 'large'));
  await layout.addImage(
    { layers: [{ ...randomLayer(mebibytes * MIB, 'large'), compression: 'none' }] },
    'large:1',
  );
  const server = await quayctlNode(scope);
  const serve = server.start(['serve', '--upstream', `oci:${layout.directory}`, '--listen', '127.0.0.1:0']);
  const [, host] = await serve.waitFor(/^http:\/\/(\S+)$/m);
  const nodes = await Promise.all([quayctlNode(scope), quayctlNode(scope)]);
  const pulls = nodes.map((node) =>
    node.start(['torrent', 'pull', `${host}/large:1`, '--json', '--seed-after', '1h']),
  );
  for (const [at, pull] of pulls.entries()) {
    const [line] = await pull.waitFor(/^\{.*\}$/m, 30 * 60_000);
    const { total } = JSON.parse(line) as {
      total: { fromPeers: number; fromRegistry: number; seconds: number };
    };
    const { fromPeers, fromRegistry, seconds } = total;
    const rate = (mebibytes * MIB) / seconds / 1e6;
    console.log(
      `node ${at + 1}: ${(fromPeers / 1e6).toFixed(0)} MB from peers, ${(fromRegistry / 1e6).toFixed(0)} MB from the ` +
        `registry, ${seconds.toFixed(1)} s (${rate.toFixed(0)} MB/s), at most ${peakMemory(pull.pid)} MiB of memory`,
    );
  }
  console.log(`service: at most ${peakMemory(serve.pid)} MiB of memory`);
} finally {
  for (const end of ends) await end();
}
