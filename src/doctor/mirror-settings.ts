import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { dumpBody, type Http } from '../http/http.ts';
import { isQuayctlError } from '../base/errors.ts';
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
  http: Http,
  report: Report,
  signal: AbortSignal,
): Promise<void> {
  const settings = await findSettings(files, registry);
  if (settings.length === 0)
    return report('mirror', 'ok', 'no engine is told to ask a mirror on this machine');
  const origins = new Map<string, boolean>();
  for (const { file, origin } of settings) {
    const answers = origins.get(origin) ?? (await isMirror(origin, http, signal));
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

async function isMirror(origin: string, http: Http, signal: AbortSignal): Promise<boolean> {
  const late = AbortSignal.any([signal, AbortSignal.timeout(MIRROR_MS)]);
  try {
    const answer = await http.request(new URL('/v2/', origin), { signal: late });
    await dumpBody(answer);
    return true;
  } catch (error) {
    signal.throwIfAborted();
    if (isQuayctlError(error) || late.aborted) return false;
    throw error;
  }
}

async function namesIn(directory: string): Promise<readonly string[]> {
  const names: string[] = await readdir(directory).catch(() => []);
  return names.sort().slice(0, MAX_FILES);
}

async function textOf(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text.slice(0, MAX_FILE_BYTES);
}
