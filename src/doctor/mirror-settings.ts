import { readdir, readFile } from 'node:fs/promises';
import { request as plainRequest, type ClientRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { join } from 'node:path';
import type { Report } from './finding.ts';

/** Where engines read which mirror they ask (docs/mirror.md). */
export interface EngineFiles {
  /** containerd's and Docker's `certs.d`: HOST/hosts.toml. */
  readonly certsDirectories: readonly string[];
  /** podman's `registries.conf.d`. */
  readonly registriesDirectories: readonly string[];
}

/** Settings of mirrors are a few lines. */
const MAX_FILE_BYTES = 64 * 1024;
const MAX_FILES = 200;
const MIRROR_MS = 3_000;

/** A file that sends an engine to a registry on loopback. */
interface MirrorSetting {
  readonly file: string;
  /** `http://127.0.0.1:7071` */
  readonly origin: string;
}

/**
 * Which engines ask a mirror on this machine, and whether it answers.
 * @param registry whose settings are looked at; undefined for those of all
 */
export async function examineMirror(
  files: EngineFiles,
  registry: string | undefined,
  report: Report,
  signal: AbortSignal,
): Promise<void> {
  const settings = await findSettings(files, registry);
  if (settings.length === 0)
    return report('mirror', 'ok', 'no engine is told to ask a mirror on this machine');
  const origins = new Map<string, boolean>();
  for (const { file, origin } of settings) {
    const answers = origins.get(origin) ?? (await isMirror(origin, signal));
    origins.set(origin, answers);
    if (answers) report('mirror', 'ok', `${file} sends its engine to ${origin}, which answers`);
    else {
      const hint = 'start it (`quayctl mirror`); until then the engine asks the registry itself';
      report('mirror', 'warning', `${file} sends its engine to ${origin}, and nobody answers there`, hint);
    }
  }
}

async function findSettings(
  { certsDirectories, registriesDirectories }: EngineFiles,
  registry: string | undefined,
): Promise<MirrorSetting[]> {
  const found: MirrorSetting[] = [];
  for (const directory of certsDirectories) {
    for (const host of await namesIn(directory)) {
      if (registry !== undefined && host !== registry && host !== '_default') continue;
      const file = join(directory, host, 'hosts.toml');
      for (const origin of originsIn(await textOf(file))) found.push({ file, origin });
    }
  }
  for (const directory of registriesDirectories) {
    for (const name of await namesIn(directory)) {
      if (!name.endsWith('.conf')) continue;
      const file = join(directory, name);
      const text = await textOf(file);
      if (registry !== undefined && !text.includes(`"${registry}"`)) continue;
      for (const origin of originsIn(text)) found.push({ file, origin });
    }
  }
  return found;
}

/** Every registry on loopback that the text names, comments left out. */
function originsIn(text: string): Set<string> {
  const lines = text.split('\n').map((line) => line.replace(/^\s*#.*/, ''));
  const named = lines
    .join('\n')
    .matchAll(/"(?:(https?):\/\/)?(127\.0\.0\.\d{1,3}|localhost|\[::1\]):(\d{1,5})[/"]/g);
  return new Set([...named].map(([, scheme = 'http', host, port]) => `${scheme}://${host}:${port}`));
}

/**
 * Whether anything answers HTTP there. A mirror's certificate is its own, named in the settings of engines and not known here;
 * nothing is shown to it that would have to be kept from others. podman's settings name no scheme, so both are tried.
 */
async function isMirror(origin: string, signal: AbortSignal): Promise<boolean> {
  const place = origin.replace(/^https?:/, '');
  for (const ask of [
    () => tlsRequest(`https:${place}/v2/`, { agent: false, timeout: MIRROR_MS, rejectUnauthorized: false }),
    () => plainRequest(`http:${place}/v2/`, { agent: false, timeout: MIRROR_MS }),
  ]) {
    if (await isAnswered(ask())) return true;
    signal.throwIfAborted();
  }
  return false;
}

async function isAnswered(asking: ClientRequest): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  asking.on('response', (answer) => {
    answer.destroy();
    resolve(true);
  });
  asking.on('timeout', () => asking.destroy(new Error('no answer')));
  asking.on('error', () => resolve(false));
  asking.end();
  return promise;
}

async function namesIn(directory: string): Promise<readonly string[]> {
  const names: string[] = await readdir(directory).catch(() => []);
  return names.sort().slice(0, MAX_FILES);
}

async function textOf(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text.slice(0, MAX_FILE_BYTES);
}
