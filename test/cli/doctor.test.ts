import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { request, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { before, describe, test, type TestContext } from 'node:test';
import { makeProgram } from '../../src/cli/program.ts';
import type { Finding } from '../../src/doctor/finding.ts';
import { openStore } from '../../src/store/open-store.ts';
import type { Session } from '../../src/cli/session.ts';
import { makeCertificate } from '../helpers/certificate.ts';
import { startHttpFaultProxy } from '../helpers/fault-proxy.ts';
import { startServer } from '../helpers/http-server.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { openNeighbour } from '../helpers/neighbour.ts';
import { programPath, skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { startRegistry } from '../helpers/registry.ts';
import { openStage, type Stage } from '../helpers/stage.ts';
import { suiteScope } from '../helpers/suite-scope.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService } from '../helpers/torrent-service.ts';

const DOCUMENT = join(import.meta.dirname, '../../docs/troubleshooting.md');
const REGISTRY = 'registry.example.com';
const SERVICE = 'torrents.example.com:7070';
const BYTES = 3_000_000;

interface Run {
  readonly code: number | null;
  readonly stdout: string;
}

/** One run in this process, in a home of its own. */
async function doctor(
  t: TestContext,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Run> {
  const home = await tempDirectory(t, 'doctor');
  let stdout = '';
  let code = 0;
  const unused = (): never => assert.fail('doctor reads nothing');
  const session: Session = {
    version: 'test',
    terminal: {
      out: (text) => (stdout += text),
      err: () => undefined,
      interactive: false,
      stderr: process.stderr,
      get stdin() {
        return unused();
      },
    },
    env: {
      PATH: process.env['PATH'] ?? '',
      XDG_RUNTIME_DIR: home,
      DOCKER_CONFIG: join(home, 'docker'),
      ...NO_ENGINES,
      ...env,
    },
    home,
    settings: new Map(),
    uid: process.geteuid?.(),
    signal: t.signal,
    onHangup: () => () => undefined,
    exitWith: (given) => (code = given),
  };
  const program = makeProgram(session);
  const store = args.includes('--store') ? [] : ['--store', join(home, 'store')];
  await program.parseAsync(['doctor', ...args, ...store], { from: 'user' });
  return { code, stdout };
}

const NO_ENGINES = {
  DOCKER_HOST: 'unix:///nonexistent/docker.sock',
  CONTAINER_HOST: 'unix:///nonexistent/podman.sock',
};

/** Whatever differs from run to run, as the document has it. */
function documented(text: string, names: Readonly<Record<string, string>>): string {
  let shown = text;
  for (const [actual, name] of Object.entries(names)) shown = shown.replaceAll(actual, name);
  return shown
    .replaceAll(/sha256:[0-9a-f]{12}/g, 'sha256:3eecc807f63d')
    .replaceAll(/ in \d+ ms/g, ' in 12 ms')
    .replaceAll(/[\d.]+ [kMG]?B\/s/g, '11.2 MB/s');
}

/** Every finding but those of `left out`, with its hint. */
function findings(text: string, status: RegExp): string {
  const blocks = text.split(/\n(?! )/).filter((block) => status.test(block));
  return blocks.map((block) => block.trimEnd()).join('\n');
}

/** What is not ok; engines, of which a test has none, left out. */
const problems = (text: string): string => findings(text, /^(?:warning|failed) +(?!engine| )/);

interface Broken {
  readonly args: readonly string[];
  readonly names?: Readonly<Record<string, string>>;
  readonly env?: Record<string, string>;
  /** Which findings the document shows; by default what is not ok. */
  readonly shown?: (text: string) => string;
  readonly code: number;
}

/** The set-ups of the document by its headings. `$ quayctl doctor ...` stands in the same block. */
async function fixtures(): Promise<Map<string, string>> {
  const sections = (await readFile(DOCUMENT, 'utf8')).split(/^### /m).slice(1);
  return new Map(
    sections.map((section) => {
      const [, block = ''] = /^```\n([^]*?)\n```$/m.exec(section) ?? [];
      const lines = block.split('\n').filter((line) => !line.startsWith('$ ') && !line.startsWith('    --'));
      return [section.split('\n', 1)[0] ?? '', lines.join('\n')] as const;
    }),
  );
}

/** Hands everything to a registry, and its answers back with other headers. */
function passOn(
  registry: string,
  headers: Readonly<Record<string, string>> = {},
): (incoming: IncomingMessage, outgoing: ServerResponse) => void {
  return (incoming, outgoing) => {
    const { method, url } = incoming;
    const asking = request(`${registry}${url}`, { method, headers: incoming.headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, { ...answer.headers, ...headers });
      answer.pipe(outgoing);
    });
    asking.on('error', () => outgoing.destroy());
    incoming.pipe(asking);
  };
}

describe('quayctl doctor', { skip: skipWithout('docker-registry', 'openssl', 'htpasswd') }, () => {
  const scope = suiteScope();
  let stage: Stage;
  let image = '';
  let service: string[] = [];
  before(async () => {
    stage = await openStage(scope);
    const layers = [randomLayer(BYTES, 'large'), randomLayer(20_000, 'small')];
    const { manifest } = await stage.layout.addImage({ layers });
    await stage.push(manifest, 'team/app:1.0');
    image = stage.name('team/app:1.0');
    service = ['--torrent-service', stage.service.url];
  });

  const broken: Readonly<Record<string, (t: TestContext) => Promise<Broken>>> = {
    'The name of the torrent service is wrong': async () => ({
      args: [image, '--torrent-service', 'http://trackr.invalid:7070'],
      names: { 'trackr.invalid': 'trackr.example.com' },
      code: 1,
    }),
    'The torrent service is down': async () => ({
      args: [image, '--torrent-service', 'http://127.0.0.1:9'],
      names: { '127.0.0.1:9 ': `${SERVICE} ` },
      code: 1,
    }),
    'Something else answers in place of the torrent service': async () => ({
      args: [image, '--torrent-service', stage.registry.url],
      names: { [stage.registry.host]: SERVICE },
      code: 1,
    }),
    'The torrent service speaks HTTPS, and http:// was given': async (t) => {
      const server = await startServer(t, (_, response) => response.end(), await makeCertificate(t));
      return {
        args: [image, '--torrent-service', server.url.replace('https:', 'http:')],
        names: { [server.host]: SERVICE },
        code: 1,
      };
    },
    'The torrent service stands in front of another registry': async (t) => {
      const other = await startService(t, { upstream: stage.registry.url });
      return {
        args: [image, '--torrent-service', other.url],
        names: { [other.host]: SERVICE },
        code: 1,
      };
    },
    'The torrent service is still hashing': async (t) => {
      const slow = await startHttpFaultProxy(t, stage.registry.url);
      slow.link.bytesPerSecond = 50_000;
      const busy = await startService(t, { upstream: slow.url, aliases: [stage.pipe.host] });
      return {
        args: [image, '--torrent-service', busy.url],
        names: { [busy.host]: SERVICE },
        shown: (text) => problems(text).replace(/\d+ %, \S+ to go/, '3 %, 1m12s to go'),
        code: 0,
      };
    },
    'The registry wants to know who asks': async (t) => {
      const auth = { kind: 'htpasswd', username: 'ada', password: 's3cret' } as const;
      const registry = await startRegistry(t, { auth });
      return {
        args: [`${registry.host}/team/app:1.0`],
        names: { [registry.host]: REGISTRY },
        code: 1,
      };
    },
    'The torrent service is not shown the password': async (t) => {
      const auth = { kind: 'htpasswd', username: 'ada', password: 's3cret' } as const;
      const registry = await startRegistry(t, { auth });
      const basic = Buffer.from('ada:s3cret').toString('base64');
      const { manifest } = await stage.layout.addImage({ layers: [randomLayer(2000, 'private')] });
      const target = {
        url: registry.url,
        repository: 'team/app',
        tag: '1.0',
        authorization: `Basic ${basic}`,
      };
      await pushImage(stage.layout, manifest, target);
      const serving = await startService(t, { upstream: registry.url });
      const config = await tempDirectory(t, 'config');
      const auths = { [registry.host]: { auth: basic } };
      await writeFile(join(config, 'config.json'), JSON.stringify({ auths }));
      return {
        args: [`${registry.host}/team/app:1.0`, '--torrent-service', serving.url],
        env: { DOCKER_CONFIG: config },
        names: { [serving.host]: SERVICE, [registry.host]: REGISTRY },
        code: 1,
      };
    },
    "The registry's certificate is of an authority that is not known": async (t) => {
      const { certificate, key } = await makeCertificate(t);
      const registry = await startRegistry(t, { tls: { certificate, key } });
      return {
        args: [`${registry.host}/team/app:1.0`],
        names: { [registry.host]: REGISTRY },
        code: 1,
      };
    },
    "This machine's clock is wrong": async (t) => {
      const date = new Date(Date.now() + 3 * 3_600_000).toUTCString();
      const late = await startServer(t, passOn(stage.registry.url, { date }));
      return {
        args: [`${late.host}/team/app:1.0`, ...service],
        names: { [late.host]: REGISTRY },
        shown: (text) => findings(text, /^warning +clock/),
        // The service has no such name for the registry.
        code: 1,
      };
    },
    'The store may not grow so far': async (t) => {
      const small = await openStore(await tempDirectory(t, 'small'));
      await small.gc(1_000_000);
      await small.close();
      return {
        args: [image, '--store', small.path, ...service],
        shown: (text) => findings(text, /^warning +store/),
        code: 0,
      };
    },
    'Docker is not running': async () => ({
      args: [],
      shown: (text) =>
        findings(text, /^warning +engine/).replace('/nonexistent/docker.sock', '/var/run/docker.sock'),
      code: 0,
    }),
  };

  for (const [title, setUp] of Object.entries(broken))
    test(`docs/troubleshooting.md shows it: ${title}`, async (t) => {
      const wanted = (await fixtures()).get(title);
      const { args, names = {}, env, shown = problems, code } = await setUp(t);
      const quick = args.length === 0 ? args : [...args, '--no-speed'];
      const given = await doctor(t, quick, env);
      const all = { ...names, [stage.pipe.host]: REGISTRY, [stage.service.host]: SERVICE };
      assert.equal(documented(shown(given.stdout), all), wanted, given.stdout);
      assert.equal(given.code, code, given.stdout);
    });

  test('--json says the same as one object; a store that cannot be used has failed', async (t) => {
    const file = join(await tempDirectory(t, 'no-store'), 'file');
    await writeFile(file, 'not a directory');
    const { code, stdout } = await doctor(t, ['--json', '--store', file]);
    const { checks, exitCode } = JSON.parse(stdout) as { checks: Finding[]; exitCode: number };
    assert.deepEqual([code, exitCode], [1, 1]);
    assert.deepEqual(
      checks.map(({ check, status }) => `${check} ${status}`),
      ['store failed', 'engine warning', 'mirror ok'],
    );
  });

  test('the document shows nothing else', async () => {
    const titles = [...(await fixtures()).keys()];
    const own = [...Object.keys(broken), WALLED, WELL];
    assert.deepEqual(titles.toSorted(), own.toSorted());
  });
});

const WALLED = 'A firewall stands between the nodes';
const WELL = 'When all is well';

describe(
  'quayctl doctor from another machine',
  { skip: skipWithout('root', 'ip', 'iptables', 'docker-registry') },
  () => {
    test(`docs/troubleshooting.md shows it: ${WELL}, and ${WALLED}`, async (t) => {
      const beyond = await openNeighbour(t);
      const registry = await startRegistry(t);
      const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
      const { manifest } = await layout.addImage({ layers: [randomLayer(BYTES, 'walled')] });
      await pushImage(layout, manifest, { url: registry.url, repository: 'team/app', tag: '1.0' });
      // The registry and the service at this machine's address on the link, where nothing is loopback.
      const [far = '', other = ''] = beyond.addresses;
      const at = { address: beyond.here, port: 0 };
      const upstream = await startServer(t, passOn(registry.url), undefined, at);
      const service = await startService(t, {
        upstream: registry.url,
        aliases: [upstream.host],
        listen: { host: beyond.here, port: 0 },
      });
      const image = `${upstream.host}/team/app:1.0`;
      const flags = ['--torrent-service', service.url, '--insecure'];
      const ports = ['--lower-port', '7881', '--upper-port', '7889'];
      const seed = await quayctlNode(t);
      const seeding = seed.start(['torrent', 'seed', image, ...flags, ...ports]);
      await seeding.waitFor(/^Seeding \d+ blobs?/m);
      const node = await quayctlNode(t, { launcher: beyond.launcher, env: NO_ENGINES });
      const well = await node.run(['doctor', image, ...flags]);
      const names = {
        [upstream.host]: REGISTRY,
        [service.host]: SERVICE,
        [`${beyond.here}:`]: '10.0.0.7:',
        [`${far}:`]: '10.0.0.8:',
        [`${other}:`]: '10.0.0.8:',
      };
      const wanted = await fixtures();
      const shown = documented(well.stdout, names)
        .replace(/^ok +store.*$/m, wanted.get(WELL)?.match(/^ok +store.*$/m)?.[0] ?? '')
        .replace(/^warning +engine.*\n +hint.*$/m, wanted.get(WELL)?.match(/^ok +engine.*$/m)?.[0] ?? '')
        .replace(/^ok +mirror.*$/m, wanted.get(WELL)?.match(/^ok +mirror.*$/m)?.[0] ?? '');
      assert.equal(shown.trimEnd(), wanted.get(WELL), well.stdout);
      assert.equal(well.code, 0, well.stdout);

      // The service connects back to a site once a minute: the same machine with another address.
      const route = ['route', 'replace', `${far.replace(/\d+$/, '0')}/24`, 'dev', 'eth0', 'src', other];
      assert.equal((await beyond.start(programPath('ip'), route).exited).code, 0);
      for (const [chain, dropped] of [
        ['INPUT', '6881:6889'],
        ['OUTPUT', '7881:7889'],
      ] as const) {
        const reject = ['-j', 'REJECT', '--reject-with', 'tcp-reset'];
        const rule = ['-I', chain, '-p', 'tcp', '--dport', dropped, ...reject];
        assert.equal((await beyond.start(programPath('iptables'), rule).exited).code, 0);
      }
      const walled = await node.run(['doctor', image, '--no-speed', ...flags]);
      const found = findings(walled.stdout, /^(?:warning|failed) +(?:port|peers)/);
      assert.equal(documented(found, names), wanted.get(WALLED), walled.stdout);
      assert.equal(walled.code, 1);
    });
  },
);
