import { QuayctlError } from '../base/errors.ts';
import { redact } from '../base/redact.ts';
import { isRecord } from './bounded-file.ts';
import { guarded, type Credential } from './credential.ts';
import { askProgram, findProgram, type Environment, type ProgramAnswer } from './program.ts';
import { helperServer } from './registry-name.ts';

/**
 * The longest run of a credential helper. Helpers of clouds ask their cloud for a token, which takes a second or two.
 */
const TIME_LIMIT_MS = 15_000;
/** `docker-credential-` + NAME is looked up in PATH: no slashes, nothing that could leave it. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** docker-credential-helpers `errCredentialsNotFoundMessage`: the one failure that means "none". */
const NOT_FOUND = 'credentials not found in native keychain';
/** The username under which helpers keep identity tokens (docker/cli `tokenUsername`). */
const TOKEN_USERNAME = '<token>';
const MAX_SHOWN_LENGTH = 200;

/**
 * Asks `docker-credential-NAME get` (the protocol of docker/docker-credential-helpers): the server on stdin, JSON
 * {ServerURL, Username, Secret} on stdout, complaints on stdout with exit code 1.
 * @returns undefined where the helper has none
 * @throws QuayctlError `credentials` naming the helper; the signal's reason
 */
export async function askHelper(
  helper: string,
  registry: string,
  env: Environment,
  signal: AbortSignal,
  timeLimitMs = TIME_LIMIT_MS,
): Promise<Credential | undefined> {
  const { name, path } = await programOf(helper, env);
  const input = helperServer(registry);
  const answer = await askProgram({ name, path, args: ['get'], input, env, timeLimitMs }, signal);
  if (answer.exitCode === 0) return parseHelperAnswer(name, registry, answer.stdout);
  if (answer.stdout.trim() === NOT_FOUND) return undefined;
  throw new QuayctlError('credentials', `${name} fails for ${registry}${complaint(answer)}`);
}

/**
 * `docker-credential-NAME store` and `erase`, of the same protocol.
 * @param input for `store` JSON {ServerURL, Username, Secret}, which is secret; for `erase` the server
 * @throws QuayctlError `credentials` naming the helper; the signal's reason
 */
export async function changeInHelper(
  helper: string,
  verb: 'store' | 'erase',
  input: string,
  env: Environment,
  signal: AbortSignal,
): Promise<void> {
  const { name, path } = await programOf(helper, env);
  const answer = await askProgram(
    { name, path, args: [verb], input, env, timeLimitMs: TIME_LIMIT_MS },
    signal,
  );
  if (answer.exitCode !== 0 && answer.stdout.trim() !== NOT_FOUND)
    throw new QuayctlError('credentials', `${name} fails${complaint(answer)}`);
}

/** @throws QuayctlError `credentials` for what is no helper's name, or not there */
async function programOf(
  helper: string,
  env: Environment,
): Promise<{ readonly name: string; readonly path: string }> {
  if (!NAME.test(helper)) {
    throw new QuayctlError('credentials', `not the name of a credential helper: ${shown(helper)}`);
  }
  const name = `docker-credential-${helper}`;
  const path = await findProgram(name, env);
  if (path === undefined) throw new QuayctlError('credentials', `${name} is not in PATH`);
  return { name, path };
}

/** @throws QuayctlError `credentials` that names the helper and never what it said */
export function parseHelperAnswer(name: string, registry: string, stdout: string): Credential | undefined {
  let json: unknown;
  try {
    json = JSON.parse(stdout);
  } catch {
    // Not as the cause: the parser's message quotes the text.
  }
  const { Username: username = '', Secret: secret = '' } = isRecord(json) ? json : { Username: null };
  if (typeof username !== 'string' || typeof secret !== 'string') {
    throw new QuayctlError('credentials', `${name} answers something else than a credential for ${registry}`);
  }
  if (username === '' && secret === '') return undefined;
  return guarded(
    username === TOKEN_USERNAME
      ? { kind: 'identity-token', token: secret }
      : { kind: 'basic', username, password: secret },
  );
}

/** Helpers complain on stdout. What looks like the answer, or part of one, is not repeated. */
function complaint({ exitCode, stdout, stderr }: ProgramAnswer): string {
  const text = stderr.trim() !== '' || /[{}"]/.test(stdout) ? stderr : stdout;
  const reason = shown(text);
  return reason === '' ? ` (exit code ${exitCode ?? 'none'})` : `: ${reason}`;
}

/** One line of foreign text: no control characters, no secrets, nothing that has the length of a token. */
function shown(text: string): string {
  return redact(text)
    .replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ')
    .replace(/[\w+=-]{24,}/g, '[redacted]')
    .trim()
    .slice(0, MAX_SHOWN_LENGTH);
}
