import assert from 'node:assert/strict';
import { QuayctlError } from '../../src/base/errors.ts';
import { Http } from '../../src/http/http.ts';
import type { Lookup } from '../../src/http/local-address.ts';
import type { Credential } from '../../src/credentials/credential.ts';
import type { RegistryAccess } from '../../src/registry/open-repository.ts';
import type { Scope } from '../helpers/processes.ts';

export interface TestAccess extends RegistryAccess {
  readonly warnings: readonly string[];
}

export interface AccessOptions {
  readonly credential?: Credential;
  readonly insecure?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  readonly certsDirectory?: string;
  readonly stallTimeoutMs?: number;
  readonly lookup?: Lookup;
}

/** What a repository is opened with; no proxies, no certificates of this machine. */
export function accessTo(scope: Scope, registry: string, options: AccessOptions = {}): TestAccess {
  const { env = {}, certsDirectory = '/nonexistent', stallTimeoutMs, lookup } = options;
  const stall = stallTimeoutMs === undefined ? {} : { stallTimeoutMs };
  const http = new Http({ env, certsDirectory, ...stall, ...(lookup === undefined ? {} : { lookup }) });
  scope.after(() => http.close());
  const warnings: string[] = [];
  return {
    registry,
    credential: options.credential,
    http,
    insecure: options.insecure ?? false,
    onWarning: (message) => warnings.push(message),
    warnings,
  };
}

/** All bytes of a blob's range. */
export async function collect(bytes: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bytes) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The QuayctlError that something must end with. */
export async function failure(attempt: Promise<unknown>): Promise<QuayctlError> {
  try {
    await attempt;
  } catch (error) {
    assert.ok(error instanceof QuayctlError, String(error));
    return error;
  }
  return assert.fail('it did not fail');
}
