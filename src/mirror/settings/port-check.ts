import { request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { QuayctlError } from '../../base/errors.ts';
import type { SettingsRequest } from './settings-request.ts';

const PATIENCE_MS = 5_000;
const MAX_ANSWER_BYTES = 64 * 1024;

/**
 * Settings that lead to a port at which nobody answers, or somebody else, would be worse than none.
 * @throws QuayctlError `unreachable`, `usage` for a registry that the mirror at this port does not stand for
 */
export async function assertAnswers({ host, certificate, registries }: SettingsRequest): Promise<void> {
  const names = await askHealth(host, certificate);
  const others = registries.filter((registry) => !names.includes(registry));
  if (others.length === 0) return;
  throw new QuayctlError('usage', `the mirror at ${host} does not stand for ${others.join(', ')}`, {
    hint: `start it with ${others.map((registry) => `--registry ${registry}`).join(' ')}`,
  });
}

/** @returns the registries that it stands for */
async function askHealth(host: string, certificate: string | undefined): Promise<readonly string[]> {
  const url = `${certificate === undefined ? 'http' : 'https'}://${host}/healthz`;
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const options = {
    timeout: PATIENCE_MS,
    agent: false,
    ...(certificate === undefined ? {} : { ca: certificate }),
  };
  const asking = (certificate === undefined ? plainRequest : tlsRequest)(url, options, (answer) => {
    const chunks: Buffer[] = [];
    let length = 0;
    answer.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > MAX_ANSWER_BYTES) asking.destroy(new Error('the answer is too large'));
      else chunks.push(chunk);
    });
    answer.on('end', () => {
      if (answer.statusCode === 200) resolve(Buffer.concat(chunks).toString('utf8'));
      else reject(new Error(`status ${answer.statusCode}`));
    });
    answer.on('error', reject);
  });
  asking.on('timeout', () => asking.destroy(new Error('no answer')));
  asking.on('error', reject);
  asking.end();
  try {
    const { registries } = JSON.parse(await promise) as { readonly registries?: unknown };
    if (!Array.isArray(registries)) throw new TypeError('no quayctl mirror');
    return registries.filter((each) => typeof each === 'string');
  } catch (cause) {
    throw new QuayctlError('unreachable', `no mirror answers at ${url}`, {
      cause,
      hint: 'start it first: systemctl enable --now quayctl-mirror, or quayctl mirror --registry HOST',
    });
  }
}
