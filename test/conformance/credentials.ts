import { PASSWORD, USER } from '../helpers/odd-registry.ts';
import { entry, login, oddInput, row, type Case, type Input } from './case.ts';

/** The credential's place; `host` is the registry's. */
const given =
  (place: (host: string) => Pick<Input, 'docker' | 'podman' | 'helpers'>): Case['set'] =>
  async (scope) => {
    const input = await oddInput(scope, { auth: 'basic' });
    return { ...input, docker: {}, ...place(input.registry.host) };
  };
const key = (name: (host: string) => string): Case['set'] => given((host) => ({ docker: login(name(host)) }));
const base64 = (text: string, encoding: BufferEncoding = 'utf8'): string =>
  Buffer.from(text, encoding).toString('base64');

const CREDENTIAL = JSON.stringify({ Username: USER, Secret: PASSWORD });
/** A credential helper that answers this to whatever it is asked. */
const helper = (script: string, more: object = {}): Case['set'] =>
  given((host) => ({
    docker: { credHelpers: { [host]: 'odd' }, ...more },
    helpers: { odd: `cat >/dev/null\n${script}\n` },
  }));
const store = (program: string, script?: string): Case['set'] =>
  given((host) => ({
    docker: { ...login(host), credsStore: program },
    ...(script === undefined ? {} : { helpers: { [program]: `cat >/dev/null\n${script}\n` } }),
  }));

export const CREDENTIALS: readonly Case[] = [
  ...row('B1', 'containers/image#96, cnabio/cnab-to-oci#84, jib#586', 'pulled', [
    { name: 'key https://HOST/v1/', set: key((host) => `https://${host}/v1/`) },
    { name: 'key http://HOST/v2/', set: key((host) => `http://${host}/v2/`) },
    { name: 'key HOST/', set: key((host) => `${host}/`) },
  ]),
  ...row('B2', 'fabric8io/docker-maven-plugin#1035', 'pulled', [
    { name: 'key HOST/NAMESPACE', set: key((host) => `${host}/team`) },
    { name: 'key HOST/NAMESPACE/NAME', set: key((host) => `${host}/team/app`) },
    { name: 'key https://HOST/NAMESPACE', set: key((host) => `https://${host}/team`) },
    {
      // docker and podman know no namespaces here
      name: 'credHelpers of a HOST/NAMESPACE, before that of the host',
      set: given((host) => ({
        docker: { credHelpers: { [host]: 'other', [`${host}/team`]: 'odd', [`${host}/te`]: 'other' } },
        helpers: {
          odd: `[ "$(cat)" = ${host} ] && echo '${CREDENTIAL}'\n`,
          other: `cat >/dev/null; echo '${CREDENTIAL.replace(PASSWORD, 'wrong')}'\n`,
        },
      })),
    },
    {
      name: 'credHelpers of another HOST/NAMESPACE, entry in auths',
      set: given((host) => ({ docker: { ...login(host), credHelpers: { [`${host}/others`]: 'missing' } } })),
    },
  ]),
  ...row('B3', 'bazel-contrib/rules_oci#124, docker-credential-helpers#149, docker/cli#3947', 'pulled', [
    { name: 'credsStore whose program is missing, entry in auths', set: store('not-here') },
    { name: 'credsStore whose program fails, entry in auths', set: store('odd', 'echo broken >&2; exit 1') },
    { name: 'credsStore whose program prints nonsense, entry in auths', set: store('odd', 'echo nonsense') },
  ]),
  ...row('B4', 'spotify/docker-client#1143', 'pulled', [
    {
      name: 'credsStore beside an empty entry in auths',
      set: given((host) => ({
        docker: { auths: { [host]: {} }, credsStore: 'odd' },
        helpers: { odd: `cat >/dev/null; echo '${CREDENTIAL}'\n` },
      })),
    },
  ]),
  ...row('B5', 'google/go-containerregistry#555', 'pulled', [
    {
      name: 'username and password in place of auth',
      set: given((host) => ({ docker: { auths: { [host]: { username: USER, password: PASSWORD } } } })),
    },
  ]),
  ...row('B6', 'credential helpers and files of many makers', 'pulled', [
    {
      name: 'a helper with more fields',
      set: helper(
        `echo '${JSON.stringify({ ServerURL: 'x', Expires: 1, Username: USER, Secret: PASSWORD })}'`,
      ),
    },
    { name: 'a helper that warns on stderr', set: helper(`echo careful >&2; echo '${CREDENTIAL}'`) },
    {
      name: 'auths null beside a helper',
      set: helper(`echo '${CREDENTIAL}'`, { auths: null }),
    },
    {
      name: 'a store that answers {} beside an entry in auths',
      set: store('odd', "echo '{}'"),
    },
    {
      name: 'a store that says "not found" beside an entry in auths',
      set: store('odd', 'echo credentials not found in native keychain; exit 1'),
    },
    {
      name: 'another entry is broken',
      set: given((host) => ({ docker: { auths: { 'other.example': { auth: '%%%' }, [host]: entry } } })),
    },
    {
      name: 'another entry is null',
      set: given((host) => ({ docker: { auths: { 'other.example': null, [host]: entry } } })),
    },
    {
      name: 'a byte order mark',
      set: given((host) => ({ docker: `\ufeff${JSON.stringify(login(host))}` })),
    },
    {
      name: 'a line break in base64',
      set: given((host) => ({
        docker: { auths: { [host]: { auth: `${entry.auth.slice(0, 2)}\n${entry.auth.slice(2)}` } } },
      })),
    },
    {
      name: 'base64 without padding',
      set: given((host) => ({ docker: { auths: { [host]: { auth: entry.auth.replace(/=+$/, '') } } } })),
    },
  ]),
  ...row('B7', 'credential helpers and files of many makers', { exit: 3, says: /./ }, [
    { name: 'a helper that prints before its JSON', set: helper(`echo hello; echo '${CREDENTIAL}'`) },
    {
      name: 'another password, in latin-1',
      set: given((host) => ({
        docker: { auths: { [host]: { auth: base64(`${USER}:p\xe4`, 'latin1') } } },
      })),
    },
    {
      name: 'a line break at the end of the password',
      set: given((host) => ({ docker: { auths: { [host]: { auth: base64(`${USER}:${PASSWORD}\n`) } } } })),
    },
  ]),
  ...row('B8', 'podman', 'pulled', [
    { name: "podman's key HOST/NAMESPACE", set: given((host) => ({ podman: login(`${host}/team`) })) },
    {
      name: "of podman's keys the longest counts",
      set: given((host) => ({
        podman: {
          auths: {
            [host]: { auth: base64('other:wrong') },
            [`${host}/team/app`]: entry,
            [`${host}/team`]: { auth: base64('other:wrong') },
          },
        },
      })),
    },
  ]),
];
