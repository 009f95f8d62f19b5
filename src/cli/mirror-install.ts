import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { QuayctlError } from '../base/errors.ts';
import { readIdentity, type MirrorIdentity } from '../mirror/identity.ts';
import type { Applied } from '../mirror/settings/apply.ts';
import { hostFacts, type HostFacts } from '../mirror/settings/host-facts.ts';
import { installSettings, uninstallSettings, type InstallReport } from '../mirror/settings/install.ts';
import { enginesHere } from '../mirror/settings/plan.ts';
import { assertAnswers } from '../mirror/settings/port-check.ts';
import { SettingsDisk } from '../mirror/settings/settings-disk.ts';
import { SettingsRecord } from '../mirror/settings/settings-record.ts';
import {
  ENGINE_NAMES,
  type MirroredEngine,
  type SettingsRequest,
} from '../mirror/settings/settings-request.ts';
import { hostAndPort } from './flags.ts';
import { identityPath } from './mirror-identity.ts';
import { registryHost } from './mirror-registries.ts';
import type { Session } from './session.ts';

export interface UninstallFlags {
  readonly dryRun?: boolean;
  readonly root: string;
}

export interface InstallFlags
  extends UninstallFlags, Readonly<Partial<Record<MirroredEngine, boolean | undefined>>> {
  readonly registry?: readonly string[];
  readonly listen: string;
  readonly identity?: string;
  readonly plain?: boolean;
  readonly editContainerdConfig?: boolean;
  readonly restart?: boolean;
}

/** Something is not as it was asked for, and what was said says what. */
const INCOMPLETE = 1;

/** `quayctl mirror install` @throws QuayctlError `usage`, `unreachable`, `unsupported`, `store` */
export async function runInstall(flags: InstallFlags, session: Session): Promise<void> {
  const isDry = flags.dryRun === true;
  if (flags.editContainerdConfig !== flags.restart) {
    throw new QuayctlError('usage', '--edit-containerd-config and --restart go together', {
      hint: 'containerd reads config.toml when it starts',
    });
  }
  const registries = [
    ...new Set((flags.registry ?? []).map((text) => registryHost(text.split('=', 1)[0] ?? ''))),
  ];
  if (registries.length === 0) throw new QuayctlError('usage', '--registry HOST is missing');
  const { host, port } = hostAndPort('--listen', flags.listen);
  const root = resolve(flags.root);
  const disk = new SettingsDisk(root);
  const identity = flags.plain === true ? undefined : await identityFor(flags, session, root);
  const request = {
    registries,
    host: `${host.includes(':') ? `[${host}]` : host}:${port}`,
    certificate: identity?.certificate,
    secret: identity?.secret,
    editsContainerdConfig: flags.editContainerdConfig === true,
  };
  if (!isDry) await assertAnswers(request);
  const named = ENGINE_NAMES.filter((engine) => flags[engine] === true);
  const engines = named.length > 0 ? named : await enginesHere(disk);
  if (engines.length === 0) {
    throw new QuayctlError('not-found', 'there is no engine here that could ask the mirror', {
      hint: `name one: ${ENGINE_NAMES.map((engine) => `--${engine}`).join(' ')}`,
    });
  }
  await writeSettings(engines, request, disk, isDry, session);
}

/** What a mirror writes for itself, as soon as it answers. */
interface OwnSettings {
  readonly registries: readonly string[];
  readonly host: string;
  readonly identity: MirrorIdentity | undefined;
  readonly root: string;
  readonly engines: readonly MirroredEngine[];
}

/** `quayctl mirror --install` @throws QuayctlError `unreachable`, `unsupported`, `store` */
export async function installFor(own: OwnSettings, session: Session): Promise<void> {
  const { registries, host, identity, engines } = own;
  const { certificate, secret } = identity ?? {};
  const request = { registries, host, certificate, secret, editsContainerdConfig: false };
  await assertAnswers(request);
  await writeSettings(engines, request, new SettingsDisk(resolve(own.root)), false, session);
}

/** `containerd,podman` @throws QuayctlError `usage` */
export function enginesOf(names: readonly string[]): MirroredEngine[] {
  return names.map((name) => {
    const engine = ENGINE_NAMES.find((each) => each === name);
    if (engine !== undefined) return engine;
    throw new QuayctlError('usage', `--install: no engine that it knows: ${JSON.stringify(name)}`, {
      hint: ENGINE_NAMES.join(', '),
    });
  });
}

async function writeSettings(
  engines: readonly MirroredEngine[],
  request: SettingsRequest,
  disk: SettingsDisk,
  isDry: boolean,
  session: Session,
): Promise<void> {
  const facts = await hostFacts(disk);
  const record = await openRecord(disk, session);
  const report = await writing(() => installSettings(engines, { request, disk, facts, record }, isDry));
  for (const file of report.files) session.terminal.out(`${shown(file, isDry)}\n`);
  if (!isDry) await reload(report, facts, session);
  for (const note of report.notes) session.terminal.err(`note: ${note}\n`);
  for (const each of report.missing) session.terminal.err(`missing: ${each}\n`);
  if (report.missing.length > 0) session.exitWith(INCOMPLETE);
}

/** `quayctl mirror uninstall` @throws QuayctlError `store`, `unsupported` */
export async function runUninstall(flags: UninstallFlags, session: Session): Promise<void> {
  const disk = new SettingsDisk(resolve(flags.root));
  const record = await openRecord(disk, session);
  const isDry = flags.dryRun === true;
  const files = await writing(() => uninstallSettings(disk, record, isDry));
  for (const file of files) session.terminal.out(`${shown(file, isDry)}\n`);
  if (files.length === 0) session.terminal.err('nothing is installed\n');
  const changed = (path: string): boolean =>
    files.some((file) => file.path === path && ['restored', 'removed', 'cut'].includes(file.kind));
  if (!isDry && changed('/etc/docker/daemon.json')) hangUp(await hostFacts(disk), session);
  if (!isDry && changed('/etc/containerd/config.toml')) {
    session.terminal.err(
      'note: containerd reads its config.toml when it starts: systemctl restart containerd\n',
    );
  }
  const left = files.filter(({ kind }) => kind === 'left');
  if (left.length === 0) return;
  session.terminal.err('what install wrote there was changed by hand: take it out, then uninstall again\n');
  session.exitWith(INCOMPLETE);
}

async function identityFor(
  flags: InstallFlags,
  session: Session,
  root: string,
): Promise<Pick<MirrorIdentity, 'certificate' | 'secret'>> {
  const path = identityPath(flags.identity, session, root);
  const identity = await readIdentity(path).catch((error: unknown) => {
    if (error instanceof QuayctlError) throw error;
    throw new QuayctlError('credentials', `cannot read ${path}`, { cause: error, hint: 'run it as root' });
  });
  if (identity !== undefined) return identity;
  if (flags.dryRun === true) return { certificate: `(the certificate in ${path})\n`, secret: '(a secret)' };
  throw new QuayctlError('unreachable', `there is no ${path}: the mirror was never started`, {
    hint: 'start it first: systemctl enable --now quayctl-mirror; --identity FILE names another place',
  });
}

function openRecord(disk: SettingsDisk, session: Session): Promise<SettingsRecord> {
  return writing(() => SettingsRecord.open(disk, session.uid));
}

/** Only root may write to most of these places. */
async function writing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException;
    if (error instanceof QuayctlError || code === undefined) throw error;
    const hint = code === 'EACCES' || code === 'EPERM' ? 'run it as root' : undefined;
    throw new QuayctlError('unsupported', `cannot change ${path ?? 'the settings'}: ${code}`, {
      cause: error,
      hint,
    });
  }
}

async function reload({ reload: wanted }: InstallReport, facts: HostFacts, session: Session): Promise<void> {
  if (wanted.has('dockerd')) hangUp(facts, session);
  if (!wanted.has('containerd')) return;
  session.terminal.err('restarting containerd\n');
  await promisify(execFile)('systemctl', ['restart', 'containerd']).catch((cause: unknown) => {
    throw new QuayctlError('engine', 'containerd could not be restarted', {
      cause,
      hint: 'systemctl status containerd; quayctl mirror uninstall takes the settings back',
    });
  });
}

/** dockerd reads its registry-mirrors again, and nothing else of it changes. */
function hangUp({ dockerdPid }: HostFacts, session: Session): void {
  if (dockerdPid === undefined) {
    session.terminal.err(
      'note: dockerd reads daemon.json again when it gets a SIGHUP: systemctl reload docker\n',
    );
    return;
  }
  process.kill(dockerdPid, 'SIGHUP');
  session.terminal.err('dockerd was told to read daemon.json again (SIGHUP)\n');
}

const WORDS: { readonly [Kind in Applied['kind']]: readonly [done: string, dry: string] } = {
  written: ['written', 'would write'],
  unchanged: ['unchanged', 'unchanged'],
  restored: ['restored', 'would restore'],
  removed: ['removed', 'would remove'],
  cut: ['our block taken out of', 'would take our block out of'],
  left: ['left as it is', 'left as it is'],
};

function shown({ path, kind }: Applied, isDry: boolean): string {
  return `${WORDS[kind][isDry ? 1 : 0]} ${path}`;
}
