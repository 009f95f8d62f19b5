import { certificateFile } from './certificate-file.ts';
import { configPathLines, containerdRegistry, editContainerdConfig } from './containerd-config.ts';
import { textOf } from './edit.ts';
import { hostsChange } from './plan-hosts.ts';
import { CERTIFICATE_PATH, type EnginePlan, type Planning } from './settings-request.ts';

const CONFIG = '/etc/containerd/config.toml';
/** containerd's own default since 2.2. */
const DEFAULT_ROOTS = '/etc/containerd/certs.d:/etc/docker/certs.d';
const FIRST_ROOT = '/etc/containerd/certs.d';

/** containerd reads hosts.toml at every pull, where its `config_path` says. */
export async function containerdPlan(planning: Planning): Promise<EnginePlan> {
  const { request, disk, facts } = planning;
  const { registries, certificate, editsContainerdConfig } = request;
  const file = await disk.read(CONFIG);
  const written = file === undefined ? '' : textOf(file.bytes);
  const dumped = await facts.containerdConfig();
  const { configPath = '', hasOldSettings } = containerdRegistry(dumped ?? written);
  const notes: string[] = [];
  const changes = certificate === undefined ? [] : [certificateFile(CERTIFICATE_PATH, certificate)];
  const isKnown = configPath !== '';
  // Without a dump the version is not known, and with it the default.
  const lacksPath = !isKnown && dumped !== undefined;
  if (hasOldSettings && !isKnown) {
    const why = `containerd: ${CONFIG} has registry.mirrors or registry.configs, beside which there is no config_path`;
    return { changes: [], notes, missing: [`${why}: move them to hosts.toml files first`] };
  }
  const [table, line] = configPathLines(written, FIRST_ROOT);
  if (lacksPath && !editsContainerdConfig) {
    const todo = `write these two lines into ${CONFIG}\n    ${table}\n    ${line.trim()}\nand run: systemctl restart containerd`;
    const flags = '(--edit-containerd-config --restart does both)';
    return { changes: [], notes, missing: [`containerd looks for no hosts.toml: ${todo} ${flags}`] };
  }
  if (!isKnown && !lacksPath) {
    notes.push(
      `containerd: config_path is not in ${CONFIG}; before containerd 2.2 it must be: ${table} ${line.trim()}`,
    );
  }
  const roots = isKnown ? configPath : lacksPath ? FIRST_ROOT : DEFAULT_ROOTS;
  for (const registry of registries) {
    // kubelet's pods have rights of their own, so none of them is given this node's.
    const form = { capabilities: ['pull', 'resolve'], mayHaveSecret: false } as const;
    changes.push(await hostsChange(registry, roots.split(':'), form, planning));
  }
  if (!lacksPath) return { changes, notes, missing: [] };
  const edit = (before: { readonly bytes: Buffer } | undefined) =>
    editContainerdConfig(before === undefined ? '' : textOf(before.bytes), FIRST_ROOT);
  changes.push({ path: CONFIG, mode: 0o644, edit });
  return { changes, notes, missing: [], reload: 'containerd' };
}
