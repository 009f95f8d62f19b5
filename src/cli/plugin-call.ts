import { QuayctlError } from '../base/errors.ts';

/** What the plug-in that `quayctl plugin install` writes calls us by. No user types it. */
export const PLUGIN_ENTRY = 'docker-cli-plugin';

/** Docker's own flags that may stand before `torrent`, and the variable that says the same to us. */
const WITH_VALUE: Readonly<Record<string, string | undefined>> = {
  '--config': 'DOCKER_CONFIG',
  '--context': 'DOCKER_CONTEXT',
  '-c': 'DOCKER_CONTEXT',
  '--host': 'DOCKER_HOST',
  '-H': 'DOCKER_HOST',
  '--log-level': undefined,
  '-l': undefined,
};
const WITHOUT_VALUE: Readonly<Record<string, string | undefined>> = {
  '--debug': undefined,
  '-D': undefined,
  '--tls': undefined,
  '--tlsverify': 'DOCKER_TLS_VERIFY',
};

/** A command line as Docker gives it to its plug-in, in our words. */
interface PluginCall {
  readonly argv: readonly string[];
  /** Added to the environment. */
  readonly env: Readonly<Record<string, string>>;
}

/** @returns undefined where the words are no call by Docker. @throws QuayctlError `usage` for a flag that we cannot pass on */
export function asPluginCall(argv: readonly string[]): PluginCall | undefined {
  const [first, ...words] = argv;
  if (first !== PLUGIN_ENTRY) return undefined;
  // Docker asks each plug-in what it is.
  if (words[0] === 'docker-cli-plugin-metadata') return { argv: [PLUGIN_ENTRY], env: {} };
  const env: Record<string, string> = {};
  let at = 0;
  for (; at < words.length; at++) {
    const word = words[at] ?? '';
    if (!word.startsWith('-')) break;
    const [flag, joined] = splitOnce(word, '=');
    if (flag in WITHOUT_VALUE) setVariable(env, WITHOUT_VALUE[flag], '1');
    else if (flag in WITH_VALUE) setVariable(env, WITH_VALUE[flag], joined ?? words[++at] ?? '');
    else {
      throw new QuayctlError('usage', `docker torrent does not know docker's flag ${flag}`, {
        hint: 'docker context create keeps such settings; then: docker --context NAME torrent pull IMAGE',
      });
    }
  }
  return { argv: ['docker', ...words.slice(at)], env };
}

/** What Docker shows in its help and in `docker info` (docker/cli, cli-plugins/metadata). */
export function pluginMetadata(version: string): string {
  return `${JSON.stringify({
    SchemaVersion: '0.1.0',
    Vendor: 'quayctl',
    Version: version,
    ShortDescription: 'Pull images over BitTorrent',
  })}\n`;
}

function setVariable(env: Record<string, string>, name: string | undefined, value: string): void {
  if (name !== undefined) env[name] = value;
}

function splitOnce(text: string, by: string): [string, string | undefined] {
  const at = text.indexOf(by);
  return at === -1 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}
