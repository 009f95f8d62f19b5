import { openLan } from './lan.ts';
import { openScope } from './scope.ts';
import { CLIENTS } from './swarm-clients.ts';
import { openStage, runNode } from './swarm-stage.ts';
const scope = openScope();
try {
  const lan = await openLan(scope, 3, '1gbit');
  const size = Number(process.argv[2] ?? 32) * 2 ** 20;
  const stage = await openStage(scope, lan, [size], { side: 'registry', cold: false, hasRegistry: true });
  const before = await lan.throughGateway();
  const client: any = (task: any) => { const [p, a] = CLIENTS.quayctl!({ ...task, image: stage.registryImage! }); return ['sh', ['-c', `exec "$@" 2>/tmp/speed/err.$$`, 'x', p, ...a, '--debug', ...process.argv.slice(3)]]; };
  const ends = await Promise.all(lan.nodes.map((n) => runNode(scope, n, client, stage).catch((e) => ({ seconds: 0, stdout: String(e) }))));
  console.log(((await lan.throughGateway()) - before) / size, ends.map((e) => e.seconds));
  for (const e of ends) console.log(e.stdout.slice(-700));
} finally { await scope.end(); }
