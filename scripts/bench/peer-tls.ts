import { randomBytes } from 'node:crypto';
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { parseSize } from '../../src/base/units.ts';
import { NodeKey } from '../../src/swarm/admission/node-key.ts';
import { emptyStorage, fullStorage, node, startTracker } from '../../test/swarm/kit.ts';
import { TorrentAuthority } from '../../test/swarm/torrent-authority.ts';
import { openScope } from './scope.ts';

const HELP = `What TLS between nodes costs: one node gives another a blob in memory, both in this process, with TLS and without (the
encrypted handshake, then plaintext), in turn. CPU seconds are those of both ends together, per GiB.

  scripts/bench/peer-tls [--size 256MiB] [--runs 3]
`;

const never = new AbortController().signal;

/** @returns seconds, and CPU seconds of both ends, per GiB */
async function exchange(size: number, isTls: boolean): Promise<{ seconds: number; cpu: number }> {
  const scope = openScope();
  try {
    const { url } = await startTracker(scope);
    const authority = await TorrentAuthority.create(url);
    const content = randomBytes(size);
    const [giver, taker] = [NodeKey.generate(), NodeKey.generate()];
    const { serviceKeys } = authority;
    const join = async (key: NodeKey, isSeed: boolean): Promise<void> => {
      const { metainfo } = await authority.torrentFor(content, key, 'any');
      const storage = isSeed ? fullStorage(content) : emptyStorage(size);
      const client = node(scope, isTls ? { nodeKey: key } : {});
      const swarm = await client.join({ metainfo, storage, signal: never, serviceKeys });
      await swarm.done;
    };
    await join(giver, true);
    const [startedAt, before] = [performance.now(), process.cpuUsage()];
    await join(taker, false);
    const { user, system } = process.cpuUsage(before);
    const scale = 2 ** 30 / size;
    return {
      seconds: ((performance.now() - startedAt) / 1000) * scale,
      cpu: ((user + system) / 1e6) * scale,
    };
  } finally {
    await scope.end();
  }
}

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '256Mi' },
    runs: { type: 'string', default: '3' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) process.stdout.write(HELP);
else {
  const size = parseSize(values.size.replace(/iB$/, 'i'));
  for (let run = 0; run < Number(values.runs); run++) {
    const load = loadavg()[0]?.toFixed(1);
    const without = await exchange(size, false);
    const tls = await exchange(size, true);
    process.stdout.write(
      `per GiB, both ends: without ${without.cpu.toFixed(2)} s of CPU, TLS ${tls.cpu.toFixed(2)} s, ratio ${(tls.cpu / without.cpu).toFixed(2)}; ` +
        `${without.seconds.toFixed(1)} s and ${tls.seconds.toFixed(1)} s on the clock; load ${load}\n`,
    );
  }
}
