import { join } from 'node:path';
import { certificateFile } from './certificate-file.ts';
import { textOf, quoted } from './edit.ts';
import { CERTIFICATE_PATH, type EnginePlan, type MirroredEngine, type Planning } from './settings-request.ts';
import { registriesDropIn, type RegistriesFile } from './registries-conf.ts';
import type { SettingsDisk } from './settings-disk.ts';

const MAIN = '/etc/containers/registries.conf';
const DROP_INS = '/etc/containers/registries.conf.d';
/** Read after all others, which it takes the place of. */
const OURS = '999-quayctl-mirror-';

/** podman reads registries.conf.d at every run, CRI-O when it is told to. */
export async function podmanPlan(engine: MirroredEngine, { request, disk }: Planning): Promise<EnginePlan> {
  const { registries, host, certificate } = request;
  const files = await registriesFiles(disk);
  const changes =
    certificate === undefined ? [] : [certificateFile(`/etc/containers/certs.d/${host}/ca.crt`, certificate)];
  for (const registry of registries) {
    const inPath = registry.replace(/:(\d+)$/, '_$1');
    changes.push({
      path: join(DROP_INS, `${OURS}${inPath}.conf`),
      mode: 0o644,
      edit: () => registriesDropIn(registry, `${host}/${inPath}`, files, certificate === undefined),
    });
  }
  const reload = 'crio: unless auto_reload_registries is on: systemctl reload crio';
  return { changes, notes: engine === 'crio' ? [reload] : [], missing: [] };
}

/** Those of others, in the order in which they are read. */
async function registriesFiles(disk: SettingsDisk): Promise<RegistriesFile[]> {
  const names = (await disk.list(DROP_INS)).filter(
    (name) => name.endsWith('.conf') && !name.startsWith(OURS),
  );
  const files: RegistriesFile[] = [];
  for (const path of [MAIN, ...names.map((name) => join(DROP_INS, name))]) {
    const found = await disk.read(path);
    if (found !== undefined) files.push({ path, text: textOf(found.bytes) });
  }
  return files;
}

/** k3s and RKE2 read registries.yaml when they start, and make hosts.toml files of it themselves. */
export async function k3sPlan({ request }: Planning): Promise<EnginePlan> {
  const { registries, host, certificate } = request;
  const lines = [
    'mirrors:',
    ...registries.flatMap((registry) => [
      `  ${quoted(registry)}:`,
      `    endpoint: ["${certificate === undefined ? 'http' : 'https'}://${host}"]`,
    ]),
    ...(certificate === undefined
      ? []
      : ['configs:', `  ${quoted(host)}:`, '    tls:', `      ca_file: ${CERTIFICATE_PATH}`]),
  ];
  const file = '/etc/rancher/k3s/registries.yaml (RKE2: /etc/rancher/rke2/registries.yaml)';
  return Promise.resolve({
    changes: certificate === undefined ? [] : [certificateFile(CERTIFICATE_PATH, certificate)],
    notes: [],
    missing: [`k3s: write these lines into ${file}, and restart it:\n${lines.join('\n')}`],
  });
}
