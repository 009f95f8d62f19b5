import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Command } from 'commander';
import { makeProgram } from '../../src/cli/program.ts';
import { shellLayer } from '../engines/engine-images.ts';
import { freePort } from '../helpers/balancer.ts';
import { startDockerd } from '../helpers/dockerd.ts';
import { TestLayout } from '../helpers/images.ts';
import { mustRun } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { startRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';

const ROOT = join(import.meta.dirname, '../..');

/** The commands of README that this file runs as they stand there, but for the names of hosts; in this order. */
const SERVE = 'quayctl serve --upstream http://registry.example.com:5000 --insecure --listen 10.0.0.5:7070';
const PULL =
  'quayctl docker torrent pull registry.example.com:5000/team/app:1.0 --insecure --torrent-service http://10.0.0.5:7070 --seed-after 10m';
const RUN = 'docker run registry.example.com:5000/team/app:1.0';
const SQUASHED =
  'quayctl docker torrent pull registry.example.com/team/app:1.0 --squashed --torrent-service https://torrents.example.com:7070';
const RUN_SQUASHED = 'docker run registry.example.com/team/app:1.0.squash';
const VERSION = 'quayctl version';
const LOAD = 'curl -fsS https://torrents.example.com:7070/c1/squash/team/app/1.0 | docker load';

const RUN_HERE = [SERVE, PULL, RUN, SQUASHED, RUN_SQUASHED, LOAD, VERSION];

/** The others, whatever follows, and why they are not run here: by what they are run instead. */
const RUN_ELSEWHERE: Readonly<Record<string, string>> = {
  'npm install -g quayctl': 'test/e2e/package.test.ts installs the package from a file',
  'apt-get install ./quayctl_VERSION_amd64.deb': 'test/release/linux-packages.check.ts installs it by dpkg',
  'quayctl version --json': 'test/release/files.check.ts runs it',
  'scripts/release': '.ci/run runs it',
  'quayctl status': 'test/cli/status.test.ts runs it',
  'sh install.sh --from https://downloads.example.com/quayctl':
    'test/release/installer.check.ts runs it, by a server on loopback',
  'systemctl enable --now quayctl-serve quayctl-seed':
    'test/release/linux-packages.check.ts looks at the units; no systemd runs there',
  'quayctl torrent pull registry.example.com/team/app:1.0 --output /media/disk/images':
    'test/image-output/image-output.test.ts and test/release/empty-root.check.ts write layouts so',
  'quayctl serve --upstream oci:/media/disk/images --listen 10.0.0.5:7070':
    'test/release/empty-root.check.ts serves a layout so',
  'quayctl docker torrent pull 10.0.0.5:7070/team/app:1.0 --insecure':
    'test/release/image.check.ts pulls so, into Docker and podman',
  'scripts/demo': 'test/cli/demo.test.ts and .ci/run run it',
  'scripts/test': '.ci/run runs it, and this test with it',
  'npm ci': 'scripts/setup runs it',
  'scripts/setup --engines': '.ci/run runs it',
  'npm run check': '.ci/run runs scripts/check, which it is',
  'npm test': 'package.json: it is scripts/test',
  'npm run build': '.ci/run runs scripts/build, which it is',
  'scripts/conformance': '.ci/long runs it',
  'CI=true bash .ci/run': '.ci/run runs this test',
  'quayctl security registry.example.com/team/app:1.0 --clair http://clair:6060':
    'test/security/command.test.ts runs it beside a stand-in for Clair',
  'quayctl serve --upstream https://registry.example.com --listen 0.0.0.0:7070 --public-url https://torrents.example.com:7070 --tls-cert tls.crt --tls-key tls.key --upstream-auth pull.json':
    'test/serve/upstream.test.ts and test/serve/reload.test.ts: it wants a registry behind HTTPS',
  'quayctl serve --upstream https://registry.example.com --listen 0.0.0.0:443 --public-url https://quay.example.com --tls-cert tls.crt --tls-key tls.key --alias quay.example.com':
    'test/e2e/rkt.test.ts starts a service so, on port 443',
  'rkt trust --prefix=quay.example.com https://quay.example.com/aci-signing-key':
    'test/helpers/rkt.ts: rkt is no longer built anywhere, its stand-in trusts a key so',
  'rkt fetch quay.example.com/team/app:1.0': 'test/e2e/rkt.test.ts runs it, by a stand-in for rkt',
  'quayctl rkt torrent pull quay.example.com/team/app:1.0 --seed-after 10m': 'test/e2e/rkt.test.ts runs it',
  'quayctl rkt torrent seed quay.example.com/team/app:1.0 --duration 1h': 'test/e2e/rkt.test.ts runs it',
  'quayctl doctor': 'test/cli/doctor.test.ts runs it',
  'sudo quayctl mirror': 'test/mirror/install.test.ts runs it',
  'quayctl mirror status': 'test/mirror/install.test.ts runs it',
  'quayctl mirror --torrent-service https://torrents.example.com --registry registry.example.com':
    'test/mirror/engines.test.ts runs it',
  'quayctl docker torrent pull IMAGE --max-severity high [--clair URL] [--security-wait 30s]':
    'test/security/gate.test.ts runs it',
  'quayctl serve --upstream https://registry.example.com --clair http://clair:6060 --notify https://hooks.example.com/quayctl --notify-key FILE':
    'test/security/webhook.test.ts runs it',
};

/** Commands with words like IMAGE in them are not run; their words and flags are looked at all the same. */
const isForm = (command: string): boolean => /\b[A-Z]{3,}\b|\|/.test(command) && !command.startsWith('curl');
const PROGRAM =
  /^(?:quayctl|docker|podman|rkt|npm|npx|curl|sh|bash|sudo|scripts\/|CI=|apt|dpkg|rpm|tar|systemctl)\b/;

/** The commands in the blocks of all documents, and those of quayctl's between backticks. */
async function commands(): Promise<{ blocks: string[]; inline: string[] }> {
  const blocks: string[] = [];
  const inline: string[] = [];
  for (const file of globSync('{*,docs/*}.md', { cwd: ROOT }).filter((name) => name !== 'CHANGELOG.md')) {
    const text = await readFile(join(ROOT, file), 'utf8');
    const parts = text.split(/^ *```.*$/m);
    for (const [at, part] of parts.entries()) {
      if (at % 2 === 0) {
        for (const [, code = ''] of part.matchAll(/`(quayctl [^`]*)`/g))
          inline.push(code.replace(/\s+/g, ' '));
        continue;
      }
      for (const line of part.replaceAll(/\\\n\s*/g, '').split('\n')) {
        const command = line.replace(/^\$ /, '').replace(/\s+#\s.*$|\s{3,}.*$/, '');
        if (PROGRAM.test(command)) blocks.push(command);
      }
    }
  }
  return { blocks, inline };
}

test('every command in the blocks of README and docs is run by a test, or it is said why not', async () => {
  const { blocks } = await commands();
  const elsewhere = Object.keys(RUN_ELSEWHERE);
  const keyOf = (command: string): string | undefined =>
    RUN_HERE.find((each) => each === command) ??
    elsewhere.find((each) => command === each || command.startsWith(`${each} `));
  const left = blocks.filter((command) => !isForm(command) && keyOf(command) === undefined);
  assert.deepEqual(left, [], 'run it below, or say in RUN_ELSEWHERE what runs it');
  const used = new Set(blocks.map(keyOf));
  assert.deepEqual(
    [...RUN_HERE, ...elsewhere].filter((each) => !used.has(each)),
    [],
    'no document has it any more',
  );
  for (const reason of Object.values(RUN_ELSEWHERE)) {
    const [path = ''] = /(?:test|scripts|\.ci)\/[\w./-]+\w|package\.json/.exec(reason) ?? [];
    await assert.doesNotReject(access(join(ROOT, path)), reason);
  }
});

test('what README and docs say of quayctl, its commands and their flags, is there', async () => {
  const { blocks, inline } = await commands();
  const all = [...blocks, ...inline].filter((command) => command.startsWith('quayctl '));
  assert.ok(all.length > 30, `${all.length} commands`);
  for (const text of all) {
    for (const line of alternatives(text)) assertDeclared(line);
  }
});

/** `login|logout REGISTRY` is two commands. */
function alternatives(text: string): string[] {
  const [, before = '', choice, after = ''] =
    /^(quayctl(?: [a-z]+)*? )([a-z]+(?:\|[a-z]+)+)\b(.*)$/.exec(text) ?? [];
  return choice === undefined ? [text] : choice.split('|').map((word) => before + word + after);
}

function assertDeclared(text: string): void {
  const words = text.split(' ').slice(1);
  let command = programOf();
  for (;;) {
    const next = command.commands.find((each) => each.name() === words[0]);
    if (next === undefined) break;
    words.shift();
    command = next;
  }
  assert.notEqual(command.parent, null, `${text}: there is no such command`);
  const known = new Set<string | undefined>();
  for (let at: Command | null = command; at !== null; at = at.parent) {
    for (const { long } of at.options) known.add(long);
  }
  for (const [flag] of text.matchAll(/--[a-z][a-z-]*/g)) {
    assert.ok(known.has(flag), `${text}: there is no flag ${flag}`);
  }
  // What follows is an argument of the command, not the mistyped name of another one.
  const [word = ''] = words;
  if (/^[a-z]+$/.test(word)) {
    assert.ok(command.registeredArguments.length > 0, `${text}: there is no command ${word}`);
  }
}

function programOf(): Command {
  const session = {
    version: '0',
    env: {},
    terminal: { out: () => undefined, err: () => undefined },
  } as unknown as Parameters<typeof makeProgram>[0];
  return makeProgram(session);
}

test(
  'README, run as it stands there: the service, a pull into Docker, squashed images, and what they print',
  { skip: skipWithout('root', 'dockerd', 'docker', 'docker-registry', 'curl') },
  async (t) => {
    const registry = await startRegistry(t);
    const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
    const cmd = { Cmd: ['/bin/sh', '-c', 'echo hello'] };
    const image = await layout.addImage({ layers: [shellLayer()], run: cmd });
    await pushImage(layout, image.manifest, { url: registry.url, repository: 'team/app', tag: '1.0' });
    const service = `127.0.0.1:${await freePort()}`;
    const engine = await startDockerd(t);
    const here = (command: string): string =>
      command
        .replaceAll(/registry\.example\.com(?::5000)?/g, registry.host)
        .replaceAll('https://torrents.example.com:7070', `http://${service}`)
        .replaceAll('10.0.0.5:7070', service)
        // Docker's own network is not touched by tests.
        .replace('docker run', 'docker run --network=none');
    const words = (command: string): string[] => here(command).split(' ').slice(1);
    const shell = (command: string): Promise<string> =>
      mustRun('sh', ['-ec', here(command)], { env: { ...process.env, DOCKER_HOST: engine.dockerHost } });

    const serve = (await quayctlNode(t)).start(words(SERVE));
    await serve.waitFor(/^http:\S+$/m);
    const node = await quayctlNode(t, { env: { DOCKER_HOST: engine.dockerHost } });
    const pull = node.start(words(PULL));
    await pull.waitFor(/[Ss]eeding/, 60_000);
    assert.equal(await shell(RUN), 'hello\n');
    assert.equal((await pull.kill('SIGINT')).code, 0, pull.stderr());
    assert.match((await node.run(words(VERSION))).stdout, /^quayctl \S+\n$/);
    const squashed = await node.run(words(SQUASHED));
    assert.equal(squashed.code, 0, squashed.stderr);
    assert.equal(await shell(RUN_SQUASHED), 'hello\n');
    await shell(`docker rmi --force ${RUN_SQUASHED.split(' ')[2]}`);
    assert.match(await shell(LOAD), /^Loaded image: \S+team\/app:1\.0\.squash$/m);
    assert.equal(await shell(RUN_SQUASHED), 'hello\n');
  },
);
