import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { QuayctlError } from '../../base/errors.ts';
import { parseEndpoint, readTls, type ApiEndpoint } from '../docker-api/endpoint.ts';
import type { Environment } from '../engine.ts';

const DEFAULT_SOCKET = '/var/run/docker.sock';

/**
 * The daemon that the `docker` command would use: DOCKER_HOST (with DOCKER_TLS_VERIFY and DOCKER_CERT_PATH), else
 * the context of DOCKER_CONTEXT or of `docker context use`, else the default socket.
 * @throws QuayctlError `engine`
 */
export async function dockerEndpoint(env: Environment): Promise<ApiEndpoint> {
  const configDir = nonEmpty(env['DOCKER_CONFIG']) ?? join(nonEmpty(env['HOME']) ?? homedir(), '.docker');
  const host = nonEmpty(env['DOCKER_HOST']);
  if (host !== undefined) {
    const secure = nonEmpty(env['DOCKER_TLS_VERIFY']) !== undefined;
    return parseEndpoint(
      host,
      'DOCKER_HOST',
      secure ? (nonEmpty(env['DOCKER_CERT_PATH']) ?? configDir) : undefined,
      DEFAULT_SOCKET,
    );
  }
  const context = nonEmpty(env['DOCKER_CONTEXT']) ?? (await currentContext(configDir));
  if (context === undefined || context === 'default') return { kind: 'socket', path: DEFAULT_SOCKET };
  return contextEndpoint(context, configDir);
}

async function currentContext(configDir: string): Promise<string | undefined> {
  const config = await readJson(join(configDir, 'config.json'));
  const name = config?.['currentContext'];
  return typeof name === 'string' ? nonEmpty(name) : undefined;
}

/** docker/cli `context/store`: a folder named by the SHA-256 of the context's name. */
async function contextEndpoint(name: string, configDir: string): Promise<ApiEndpoint> {
  const id = createHash('sha256').update(name).digest('hex');
  const meta = await readJson(join(configDir, 'contexts', 'meta', id, 'meta.json'));
  const endpoints = meta?.['Endpoints'] as Record<string, { Host?: unknown } | undefined> | undefined;
  const host = endpoints?.['docker']?.Host;
  if (typeof host !== 'string' || host === '') {
    throw new QuayctlError('engine', `Docker context ${JSON.stringify(name.slice(0, 100))} has no endpoint`, {
      hint: 'docker context ls shows the contexts; DOCKER_HOST overrides them',
    });
  }
  const certDir = join(configDir, 'contexts', 'tls', id, 'docker');
  const tls = await readTls(certDir, `Docker context ${name}`);
  return parseEndpoint(
    host,
    `Docker context ${name}`,
    Object.keys(tls).length === 0 ? undefined : certDir,
    DEFAULT_SOCKET,
  );
}

/** A file that is missing or no JSON object says nothing; `docker` itself only warns. */
async function readJson(path: string): Promise<Record<string, unknown> | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}
