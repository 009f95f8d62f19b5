import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { chmod, chown, mkdir, readdir, readFile, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { parse as parseToml } from 'smol-toml';
import { installSettings, uninstallSettings, type InstallReport } from '../../src/mirror/settings/install.ts';
import type { HostFacts } from '../../src/mirror/settings/host-facts.ts';
import { SettingsDisk, type WantedFile } from '../../src/mirror/settings/settings-disk.ts';
import { SettingsRecord } from '../../src/mirror/settings/settings-record.ts';
import {
  ENGINE_NAMES,
  type MirroredEngine,
  type SettingsRequest,
} from '../../src/mirror/settings/settings-request.ts';
import { tempDirectory } from '../helpers/temp.ts';

const HOST = 'registry.example.com';
const HOSTS_TOML = `etc/containerd/certs.d/${HOST}/hosts.toml`;
const DAEMON_JSON = 'etc/docker/daemon.json';
const REQUEST: SettingsRequest = {
  registries: [HOST, 'docker.io'],
  host: '127.0.0.1:7071',
  certificate: '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n',
  secret: 'the-secret',
  editsContainerdConfig: false,
};
const FACTS: HostFacts = {
  containerdConfig: () =>
    Promise.resolve(
      'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\nconfig_path = "/etc/containerd/certs.d"\n',
    ),
  docker: () => Promise.resolve({ major: 20, hasContainerdStore: false }),
  dockerdHasMirrorFlag: false,
  dockerdPid: undefined,
};
const CONTAINERD_STORE: Partial<HostFacts> = {
  docker: () => Promise.resolve({ major: 29, hasContainerdStore: true }),
};

type Tree = Readonly<Record<string, string>>;

/** What administrators have on their machines. */
const KINDS: Readonly<Record<string, Tree>> = {
  'nothing at all': {},
  'certificates alone': {
    [`etc/containerd/certs.d/${HOST}/ca.crt`]: 'a certificate',
    [`etc/containerd/certs.d/${HOST}/client.cert`]: 'a certificate',
    [`etc/containerd/certs.d/${HOST}/client.key`]: 'a key',
  },
  'a hosts.toml with comments and CRLF': {
    [HOSTS_TOML]: `# ours, since 2019\r\nserver = "https://${HOST}"\r\n\r\n# behind\r\n[host."https://other.example"]\r\n  capabilities = ["pull"]\r\n`,
  },
  'a hosts.toml with two hosts, brackets everywhere, and no last newline': {
    [HOSTS_TOML]: `ca = [\n  "a.crt",\n  "b.crt"\n]\nclient = [\n  ["c.cert", "c.key"]\n]\n[host."https://a.example"]\n[host."https://b.example"]\n  capabilities = ["pull"]`,
  },
  'settings for all registries in _default': {
    'etc/containerd/certs.d/_default/hosts.toml': '[host."https://all.example"]\n  capabilities = ["pull"]\n',
  },
  'registries.conf with insecure, blocked and a mirror': {
    'etc/containers/registries.conf': `unqualified-search-registries = ["docker.io"]\n[[registry]]\nprefix = "${HOST}"\nlocation = "elsewhere.example"\ninsecure = true\nblocked = false\n[[registry.mirror]]\nlocation = "mirror.example"\ninsecure = true\n`,
  },
  'daemon.json with odd spacing and a mirror': {
    [DAEMON_JSON]: '{ "debug":true ,\n\t"registry-mirrors" : [   "https://first.example/" ]\n\n}',
  },
  'an empty daemon.json, and a directory of the other spelling': {
    [DAEMON_JSON]: '',
    'etc/containerd/certs.d/registry.example.com_5000_/ca.crt': 'a certificate',
  },
};

for (const [kind, tree] of Object.entries(KINDS)) {
  test(`${kind}: uninstall leaves every byte, mode, owner and time as it was`, async (t) => {
    const root = await rootWith(t, tree);
    const before = await snapshot(root);
    const report = await install(root);
    assert.ok(report.files.some(({ kind: each }) => each === 'written'));
    const installed = await snapshot(root);
    const again = await install(root);
    assert.deepEqual([...new Set(again.files.map((file) => file.kind))], ['unchanged']);
    assert.deepEqual(await snapshot(root), installed, 'installed twice');
    await uninstall(root);
    assert.deepEqual(await snapshot(root), before);
    assert.deepEqual(await uninstall(root), []);
    assert.deepEqual(await snapshot(root), before, 'uninstalled twice');
  });
}

test('the mirror is the first host of a hosts.toml, and all else in it is as it was', async (t) => {
  const text = KINDS['a hosts.toml with comments and CRLF']?.[HOSTS_TOML] ?? '';
  const root = await rootWith(t, { [HOSTS_TOML]: text });
  await install(root, ['containerd']);
  const after = await readFile(join(root, HOSTS_TOML), 'utf8');
  const parsed = parse(after) as { host: Record<string, unknown>; server: string };
  assert.deepEqual(Object.keys(parsed.host), ['https://127.0.0.1:7071', 'https://other.example']);
  assert.equal(parsed.server, `https://${HOST}`);
  assert.doesNotMatch(after, /[^\r]\n/, 'lines end as those of the file do');
  assert.equal(after.replace(/# >>>[^]*# <<< quayctl mirror\r\n/, ''), text);
});

test('certificates beside a new hosts.toml go on counting', async (t) => {
  const root = await rootWith(t, KINDS['certificates alone'] ?? {});
  await install(root, ['containerd']);
  const parsed = parse(await readFile(join(root, HOSTS_TOML), 'utf8'));
  assert.deepEqual(parsed['ca'], ['ca.crt']);
  assert.deepEqual(parsed['client'], [['client.cert', 'client.key']]);
});

test('what holds for all registries goes on holding for one that gets a directory', async (t) => {
  const root = await rootWith(t, KINDS['settings for all registries in _default'] ?? {});
  await install(root, ['containerd']);
  const parsed = parse(await readFile(join(root, HOSTS_TOML), 'utf8')) as { host: object };
  assert.deepEqual(Object.keys(parsed.host), ['https://127.0.0.1:7071', 'https://all.example']);
});

test('podman’s settings of a registry are copied, with the mirror before its mirrors', async (t) => {
  const root = await rootWith(t, KINDS['registries.conf with insecure, blocked and a mirror'] ?? {});
  await install(root, ['podman']);
  const path = `etc/containers/registries.conf.d/999-quayctl-mirror-${HOST}.conf`;
  assert.deepEqual(parse(await readFile(join(root, path), 'utf8'))['registry'], [
    {
      prefix: HOST,
      location: 'elsewhere.example',
      insecure: true,
      blocked: false,
      mirror: [{ location: `127.0.0.1:7071/${HOST}` }, { location: 'mirror.example', insecure: true }],
    },
  ]);
});

test('dockerd’s mirrors: ours first, by text, for Docker Hub alone', async (t) => {
  const root = await rootWith(t, KINDS['daemon.json with odd spacing and a mirror'] ?? {});
  const report = await install(root, ['docker']);
  assert.equal(
    await readFile(join(root, DAEMON_JSON), 'utf8'),
    '{ "debug":true ,\n\t"registry-mirrors" : [   "https://127.0.0.1:7071", "https://first.example/" ]\n\n}',
  );
  assert.match(report.missing.join('\n'), /mirrors for Docker Hub alone, not for registry\.example\.com/);
  assert.ok(report.reload.has('dockerd'));
});

test('Docker with the containerd store resolves tags itself, and root alone reads the secret', async (t) => {
  const root = await rootWith(t, {});
  await install(root, ['docker'], CONTAINERD_STORE);
  const path = join(root, `etc/docker/certs.d/${HOST}/hosts.toml`);
  const { host } = parse(await readFile(path, 'utf8')) as { host: Record<string, Record<string, unknown>> };
  const ours = host['https://127.0.0.1:7071'];
  assert.deepEqual(ours?.['capabilities'], ['pull']);
  assert.deepEqual(ours['header'], { 'X-Quayctl-Mirror': ['the-secret'] });
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  const other = await rootWith(t, { [`etc/docker/certs.d/${HOST}/hosts.toml`]: '' });
  await install(other, ['docker'], CONTAINERD_STORE);
  const readByAll = await readFile(join(other, `etc/docker/certs.d/${HOST}/hosts.toml`), 'utf8');
  assert.doesNotMatch(readByAll, /the-secret/);
});

test('without a config_path containerd is told of in plain words, and nothing is written', async (t) => {
  const root = await rootWith(t, { 'etc/containerd/config.toml': 'version = 2\n' });
  const before = await snapshot(root);
  const facts = { containerdConfig: () => Promise.resolve('version = 2\n') };
  const report = await install(root, ['containerd'], facts);
  assert.match(
    report.missing.join(),
    /\[plugins\."io\.containerd\.grpc\.v1\.cri"\.registry\]\n\s+config_path = /,
  );
  assert.deepEqual(await snapshot(root), before);
  const edited = await install(root, ['containerd'], facts, { editsContainerdConfig: true });
  assert.ok(edited.reload.has('containerd'));
  const config = parse(await readFile(join(root, 'etc/containerd/config.toml'), 'utf8'));
  assert.deepEqual(config['plugins'], {
    'io.containerd.grpc.v1.cri': { registry: { config_path: '/etc/containerd/certs.d' } },
  });
  await uninstall(root);
  assert.deepEqual(await snapshot(root), before);
});

test('edits that others made since stay, and our part alone is taken out', async (t) => {
  const text = `server = "https://${HOST}"\n[host."https://a.example"]\n`;
  const root = await rootWith(t, { [HOSTS_TOML]: text, [DAEMON_JSON]: '{\n  "debug": true\n}\n' });
  await install(root);
  for (const path of [HOSTS_TOML, DAEMON_JSON]) {
    const installed = await readFile(join(root, path), 'utf8');
    await writeFile(join(root, path), installed.replace('a.example', 'b.example').replace('true', 'false'));
  }
  await install(root, ENGINE_NAMES, {}, { host: '127.0.0.1:771' });
  await uninstall(root);
  assert.equal(await readFile(join(root, HOSTS_TOML), 'utf8'), text.replace('a.example', 'b.example'));
  assert.equal(await readFile(join(root, DAEMON_JSON), 'utf8'), '{\n  "debug": false\n}\n');
});

test('a part of ours that was changed by hand is left, named, and taken back once it is out', async (t) => {
  const root = await rootWith(t, { [HOSTS_TOML]: `server = "https://${HOST}"\n` });
  await install(root);
  const path = join(root, HOSTS_TOML);
  const text = await readFile(path, 'utf8');
  await writeFile(path, text.replace('dial_timeout = "1s"', 'dial_timeout = "2s"'));
  const left = (await uninstall(root)).filter(({ kind }) => kind === 'left');
  assert.deepEqual(left, [{ path: `/${HOSTS_TOML}`, kind: 'left' }]);
  await writeFile(path, `server = "https://${HOST}"\n`);
  await uninstall(root);
  assert.deepEqual(
    Object.keys(await snapshot(root)).filter((each) => each.includes('quayctl')),
    [],
  );
});

/** Where install stops short, and says so. */
const REFUSED: Readonly<Record<string, (root: string) => Promise<unknown>>> = {
  'no TOML': (root) => put(root, HOSTS_TOML, 'server = \n'),
  'a host of the same name, not ours': (root) => put(root, HOSTS_TOML, '[host."https://127.0.0.1:7071"]\n'),
  'a symbolic link': async (root) => {
    await put(root, 'elsewhere', '');
    await mkdir(dirname(join(root, HOSTS_TOML)), { recursive: true });
    await symlink(join(root, 'elsewhere'), join(root, HOSTS_TOML));
  },
  'bytes that are no UTF-8': (root) => put(root, HOSTS_TOML, Buffer.from([0x23, 0xff, 0x0a])),
  'a default that names files beside itself': (root) =>
    put(root, 'etc/containerd/certs.d/_default/hosts.toml', '[host."https://a.example"]\nca = "a.crt"\n'),
};

for (const [what, make] of Object.entries(REFUSED)) {
  test(`${what}: nothing of that engine is written, the others are`, async (t) => {
    const root = await rootWith(t, {});
    await make(root);
    const before = await snapshot(root);
    const report = await install(root, ['containerd', 'podman']);
    assert.match(report.missing.join(), /^containerd: /);
    const now = await snapshot(root);
    assert.ok(Object.keys(now).some((path) => path.includes('registries.conf.d/999')));
    const others = Object.keys(now).filter((path) => path.includes('certs.d') && path.includes('containerd'));
    assert.deepEqual(
      others,
      Object.keys(before).filter((path) => path.includes('certs.d')),
    );
    await uninstall(root);
    assert.deepEqual(await snapshot(root), before);
  });
}

test('a record that others could have written is not believed', async (t) => {
  const root = await rootWith(t, {});
  await install(root);
  await chmod(join(root, 'var/lib/quayctl-mirror'), 0o777);
  await assert.rejects(uninstall(root), { code: 'store' });
  await chmod(join(root, 'var/lib/quayctl-mirror'), 0o700);
  const record = join(root, 'var/lib/quayctl-mirror/installed.json');
  const text = await readFile(record, 'utf8');
  for (const path of ['/etc/passwd', '/etc/docker/../passwd', 'etc/docker/daemon.json']) {
    await writeFile(record, text.replace('/etc/docker/daemon.json', path));
    await assert.rejects(uninstall(root), { code: 'store' }, path);
  }
});

/** A machine whose plug is pulled at one write: half a draft may lie there, and nothing more happens. */
class PluggedDisk extends SettingsDisk {
  #left: number;

  constructor(root: string, writes: number) {
    super(root);
    this.#left = writes;
  }

  get isOff(): boolean {
    return this.#left <= 0;
  }

  override makeDirectory(path: string, mode?: number): Promise<void> {
    return this.#orOff(() => super.makeDirectory(path, mode));
  }

  override write(path: string, file: WantedFile): Promise<void> {
    const half = (): Promise<void> =>
      writeFile(
        join(dirname(this.at(path)), `.${basename(path)}.${randomUUID()}`),
        file.bytes.subarray(0, 9),
      );
    return this.#orOff(() => super.write(path, file), half);
  }

  override remove(path: string): Promise<void> {
    return this.#orOff(() => super.remove(path));
  }

  override removeDirectory(path: string): Promise<void> {
    return this.#orOff(() => super.removeDirectory(path));
  }

  async #orOff(work: () => Promise<void>, half?: () => Promise<void>): Promise<void> {
    if (--this.#left > 0) return work();
    if (this.#left === 0) await half?.();
    throw new Error('off');
  }
}

test('killed at every write: whatever was done by then is taken back, or completed', async (t) => {
  const tree = Object.assign({}, ...Object.values(KINDS)) as Tree;
  const one = { registries: ['docker.io'] };
  let writes = 1;
  for (let isWhole = false; !isWhole; writes++) {
    const root = await rootWith(t, tree);
    const before = await snapshot(root);
    const disk = new PluggedDisk(root, writes);
    isWhole = await install(root, ENGINE_NAMES, {}, one, disk).then(
      () => true,
      () => false,
    );
    assert.equal(isWhole, !disk.isOff);
    if (writes % 2 === 0) await install(root, ENGINE_NAMES, {}, { ...one, host: '127.0.0.1:771' });
    await uninstall(root);
    assert.deepEqual(await snapshot(root), before, `killed at write ${writes} of install`);
  }
  assert.ok(writes > 15, `${writes} writes`);
  for (let [at, isWhole] = [1, false]; !isWhole; at++) {
    const root = await rootWith(t, tree);
    const before = await snapshot(root);
    await install(root, ENGINE_NAMES, {}, one);
    if (at % 2 === 0) {
      const other = { ...one, host: '127.0.0.1:771' };
      const again = install(root, ENGINE_NAMES, {}, other, new PluggedDisk(root, at));
      await again.catch(() => undefined);
    }
    isWhole = await uninstall(root, new PluggedDisk(root, at)).then(
      () => true,
      () => false,
    );
    await uninstall(root);
    assert.deepEqual(await snapshot(root), before, `killed at write ${at} of uninstall`);
  }
});

test('what cannot be written takes the engine’s other files back', async (t) => {
  const root = await rootWith(t, {});
  const before = await snapshot(root);
  class FullDisk extends SettingsDisk {
    override write(path: string, file: WantedFile): Promise<void> {
      if (path.endsWith('.conf')) return Promise.reject(new Error('ENOSPC'));
      return super.write(path, file);
    }
  }
  await assert.rejects(install(root, ['podman'], {}, {}, new FullDisk(root)), /ENOSPC/);
  await uninstall(root);
  assert.deepEqual(await snapshot(root), before);
});

async function install(
  root: string,
  engines: readonly MirroredEngine[] = ENGINE_NAMES,
  facts: Partial<HostFacts> = {},
  request: Partial<SettingsRequest> = {},
  disk = new SettingsDisk(root),
): Promise<InstallReport> {
  const record = await SettingsRecord.open(disk, process.getuid?.());
  const planning = { request: { ...REQUEST, ...request }, disk, facts: { ...FACTS, ...facts }, record };
  return installSettings(engines, planning, false);
}

async function uninstall(root: string, disk = new SettingsDisk(root)): ReturnType<typeof uninstallSettings> {
  return uninstallSettings(disk, await SettingsRecord.open(disk, process.getuid?.()), false);
}

async function rootWith(t: TestContext, tree: Tree): Promise<string> {
  const root = await tempDirectory(t, 'settings');
  for (const folder of ['etc', 'var/lib']) await mkdir(join(root, folder), { recursive: true });
  for (const [path, text] of Object.entries(tree)) await put(root, path, text);
  return root;
}

async function put(root: string, path: string, text: string | Buffer): Promise<void> {
  const full = join(root, path);
  await mkdir(dirname(full), { recursive: true });
  await writeFile(full, text);
  await chmod(full, 0o640 | 0o004);
  if (process.getuid?.() === 0) await chown(full, 0, 7);
  await utimes(full, 1_600_000_000.25, 1_600_000_000.25);
}

function parse(text: string): Record<string, unknown> {
  return JSON.parse(JSON.stringify(parseToml(text))) as Record<string, unknown>;
}

/** Every path, with what a file is. */
async function snapshot(root: string): Promise<Readonly<Record<string, string>>> {
  const facts: Record<string, string> = {};
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const { mode, uid, gid, mtimeMs } = await stat(path);
    const hash = entry.isFile()
      ? createHash('sha256')
          .update(await readFile(path))
          .digest('hex')
      : '';
    const time = entry.isFile() ? mtimeMs : 0;
    facts[path.slice(root.length + 1)] = [mode.toString(8), uid, gid, time, hash].join(' ');
  }
  return facts;
}
